"""Voice notes of the demo, hummed here: FLAC in an Ogg container, which browsers play and which needs no encoder.

Samples stand in it as they are (verbatim subframes), at eight kilohertz: some seconds are some ten kilobytes.
https://www.rfc-editor.org/rfc/rfc9639 and https://www.rfc-editor.org/rfc/rfc3533
"""

from __future__ import annotations

import math
import struct
from functools import cache

RATE = 8000
BLOCK = 4000
MIME_TYPE = "audio/ogg; codecs=flac"

_NOTES = (262, 294, 330, 392, 440, 523)


@cache
def hummed(seed: int, seconds: int = 4) -> bytes:
    """A little tune; *seed* chooses its notes."""
    samples = [_sample(seed, place) for place in range(RATE * seconds)]
    blocks = [samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK)]
    header = b"\x7fFLAC\x01\x00" + struct.pack(">H", 1) + b"fLaC" + b"\x00\x00\x00\x22" + _stream_info(len(samples))
    comment = b"\x84\x00\x00\x10" + struct.pack("<I", 8) + b"Voltfair" + struct.pack("<I", 0)
    pages = [_page(header, 0, 0, 2), _page(comment, 0, 1, 0)]
    for number, block in enumerate(blocks):
        end = min((number + 1) * BLOCK, len(samples))
        pages.append(_page(_frame(number, block), end, number + 2, 4 if number + 1 == len(blocks) else 0))
    return b"".join(pages)


def _sample(seed: int, place: int) -> int:
    """Eight bits, signed: one note each half second, swelling and fading."""
    note, within = divmod(place, RATE // 2)
    pitch = _NOTES[(seed + note * (2 + seed % 3)) % len(_NOTES)]
    loudness = 44 * math.sin(math.pi * within / (RATE // 2))
    turn = 2 * math.pi * pitch * place / RATE
    return round(loudness * (math.sin(turn) + 0.35 * math.sin(2 * turn)))


def _stream_info(total: int) -> bytes:
    # Rate (20 bits), channels less one (3), bits a sample less one (5), samples in all (36).
    packed = RATE << 44 | 0 << 41 | 7 << 36 | total
    return struct.pack(">HH", BLOCK, BLOCK) + b"\0" * 6 + packed.to_bytes(8, "big") + b"\0" * 16


def _frame(number: int, block: list[int]) -> bytes:
    # Block size in sixteen bits at the header's end, rate 8 kHz, one channel, eight bits.
    head = b"\xff\xf8\x74\x02" + bytes((number,)) + struct.pack(">H", len(block) - 1)
    head += bytes((_crc(head, 0x07, 8),))
    body = head + b"\x02" + bytes(sample & 0xFF for sample in block)
    return body + _crc(body, 0x8005, 16).to_bytes(2, "big")


def _page(packet: bytes, position: int, number: int, flags: int) -> bytes:
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = b"OggS\x00" + struct.pack("<BqII", flags, position, 0x564F4C54, number)
    tail = bytes((len(lacing),)) + lacing + packet
    return head + struct.pack("<I", _crc(head + b"\0\0\0\0" + tail, 0x04C11DB7, 32)) + tail


def _table(polynomial: int, width: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (width - 1) else 0)
            value &= (1 << width) - 1
        table.append(value)
    return table


_TABLES = {(p, w): _table(p, w) for p, w in ((0x07, 8), (0x8005, 16), (0x04C11DB7, 32))}


def _crc(data: bytes, polynomial: int, width: int) -> int:
    table, mask, value = _TABLES[polynomial, width], (1 << width) - 1, 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> (width - 8) ^ byte]
    return value
