"""Films of the demo, drawn here: H.264 in MP4, which browsers play and which needs no encoder.

Each picture stands in it as it is (I_PCM macroblocks), ninety-six pixels square.
https://www.itu.int/rec/T-REC-H.264 (7.3) and ISO/IEC 14496-12
"""

from __future__ import annotations

import math
import re
import struct
from functools import cache

MIME_TYPE = "video/mp4"

SIDE = 96
PICTURES, PICTURES_A_SECOND = 16, 8
_BLOCK = 16
_SCALE = 1000  # ticks of the film's clock in a second

_SEQUENCE = (66 << 24 | 0xC0 << 16 | 10 << 8) >> 8
"""Baseline profile with its constraints, level 1.0: three bytes of the sequence's parameters and of ``avcC``."""


@cache
def turning_drum() -> bytes:
    """A washing machine whose drum turns, for two seconds."""
    pictures = [_sample(_picture(number), number) for number in range(PICTURES)]
    start = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomavc1")
    film = _box(b"mdat", *pictures)
    return start + film + _movie([len(picture) for picture in pictures], len(start) + 8)


def _picture(number: int) -> bytes:
    """The luma of one picture, row after row: the machine, its round door, and what tumbles behind it."""
    turned = 2 * math.pi * number / PICTURES
    return bytes(_pixel(x - SIDE // 2, y - SIDE // 2, turned) for y in range(SIDE) for x in range(SIDE))


def _pixel(x: int, y: int, turned: float) -> int:
    far = math.hypot(x, y)
    if far > 34:
        return 90 if y < -38 and x % 9 < 6 and x > 10 else 215
    if far > 28:
        return 120
    blade = math.cos(3 * (math.atan2(y, x) - turned))
    return round(70 + 50 * blade) if far > 8 else 160


def _sample(luma: bytes, number: int) -> bytes:
    """One picture that needs no other, with its length before it."""
    # I slice of one set of parameters; frame number 0; ids of neighbours differ; no deblocking.
    head = _bits((0, 0), (7, 0), (0, 0), (0, 4), (number % 2, 0), (0, 2), (0, 0), (1, 0))
    out = bytearray()
    for top in range(0, SIDE, _BLOCK):
        for left in range(0, SIDE, _BLOCK):
            # The kind of block (I_PCM is 25), zeros to the next whole byte, and its samples, grey.
            out += _whole_bytes(head + _bits((25, 0)))
            head = ""
            out += b"".join(luma[(top + y) * SIDE + left :][:_BLOCK] for y in range(_BLOCK)) + b"\x80" * 128
    unit = _unit(0x65, bytes(out) + b"\x80")
    return struct.pack(">I", len(unit)) + unit


def _bits(*numbers: tuple[int, int]) -> str:
    """Each number in so many bits; as an Exp-Golomb code where these are 0."""
    written = []
    for number, width in numbers:
        digits = f"{number:0{width}b}" if width else f"{number + 1:b}"
        written.append(digits if width else "0" * (len(digits) - 1) + digits)
    return "".join(written)


def _whole_bytes(bits: str) -> bytes:
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def _unit(kind: int, payload: bytes) -> bytes:
    """A unit of the stream, in which no three bytes look like the beginning of another one."""
    return bytes((kind,)) + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", len(data) + 8) + kind + data


def _movie(sizes: list[int], first: int) -> bytes:
    """What the file holds and where: *sizes* of the pictures, the first of which begins at byte *first*."""
    lasts, each = _SCALE * PICTURES // PICTURES_A_SECOND, _SCALE // PICTURES_A_SECOND
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    blocks = SIDE // _BLOCK - 1
    sequence = _bits((0, 0), (0, 0), (2, 0), (0, 0), (0, 1), (blocks, 0), (blocks, 0), (0b1100, 4), (1, 1))
    picture = _bits((0, 0), (0, 0), (0, 2), (0, 0), (0, 0), (0, 0), (0, 3), (0, 0), (0, 0), (0, 0), (0b100, 3), (1, 1))
    profile = _SEQUENCE.to_bytes(3, "big")
    units = _unit(0x67, profile + _whole_bytes(sequence)), _unit(0x68, _whole_bytes(picture))
    avcc = b"\x01" + profile + b"\xff" + b"".join(
        bytes((count,)) + struct.pack(">H", len(unit)) + unit for count, unit in zip((0xE1, 1), units, strict=True)
    )  # fmt: skip
    sample = b"\0" * 6 + struct.pack(">H", 1) + b"\0" * 16 + struct.pack(">HH", SIDE, SIDE)
    sample += struct.pack(">IIIH", 72 << 16, 72 << 16, 0, 1) + b"\0" * 32 + struct.pack(">Hh", 24, -1)
    table = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"avc1", sample, _box(b"avcC", avcc))),
        _box(b"stts", struct.pack(">IIII", 0, 1, len(sizes), each)),
        _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, len(sizes), 1)),
        _box(b"stsz", struct.pack(">III", 0, 0, len(sizes)), struct.pack(f">{len(sizes)}I", *sizes)),
        _box(b"stco", struct.pack(">III", 0, 1, first)),
    )
    here = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1))))
    media = _box(
        b"mdia",
        _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, _SCALE, lasts, 0x55C4, 0)),
        _box(b"hdlr", struct.pack(">II", 0, 0), b"vide", b"\0" * 12 + b"\0"),
        _box(b"minf", _box(b"vmhd", struct.pack(">I", 1) + b"\0" * 8), here, table),
    )
    track = (
        struct.pack(">IIIIII", 3, 0, 0, 1, 0, lasts) + b"\0" * 16 + matrix + struct.pack(">II", SIDE << 16, SIDE << 16)
    )
    header = struct.pack(">IIIIIIH", 0, 0, 0, _SCALE, lasts, 1 << 16, 1 << 8) + b"\0" * 10 + matrix
    return _box(
        b"moov", _box(b"mvhd", header, b"\0" * 24, struct.pack(">I", 2)), _box(b"trak", _box(b"tkhd", track), media)
    )
