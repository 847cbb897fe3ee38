"""Small pictures for the demo's conversations, painted here so that no file has to be shipped."""

from __future__ import annotations

import struct
import zlib
from functools import cache

WIDTH, HEIGHT = 320, 240

_COLOURS = ((38, 84, 124), (239, 71, 111), (255, 209, 102), (6, 214, 160), (120, 94, 240), (244, 140, 6))


def parcel(seed: int) -> bytes:
    """A PNG of a parcel with a label on a floor; *seed* chooses its colours and place."""
    back, box = _COLOURS[seed % 6], _COLOURS[(seed // 6 + seed + 1) % 6]
    left, top = 40 + seed % 60, 50 + seed % 30
    rows = bytearray()
    for y in range(HEIGHT):
        rows.append(0)
        for x in range(WIDTH):
            rows += bytes(_pixel(x - left, y - top, y, back, box))
    return _png(bytes(rows))


def _pixel(x: int, y: int, depth: int, back: tuple[int, int, int], box: tuple[int, int, int]) -> tuple[int, int, int]:
    """The colour at *x*, *y* from the parcel's corner."""
    if not (0 <= x < 190 and 0 <= y < 130):
        shade = 40 if depth > 170 else 90
        return (back[0] // 3 + shade, back[1] // 3 + shade, back[2] // 3 + shade)
    if 24 <= x < 96 and 20 <= y < 66:
        return (30, 30, 30) if 30 <= y < 60 and x % 7 < 3 and 32 <= x < 88 else (245, 245, 240)
    if 88 <= x < 102:
        return (box[0] // 2, box[1] // 2, box[2] // 2)
    return (box[0] - box[0] * y // 400, box[1] - box[1] * y // 400, box[2] - box[2] * y // 400)


def _png(rows: bytes) -> bytes:
    """*rows* of RGB pixels, each after its filter byte, as a PNG file (https://www.w3.org/TR/png-3/)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


STICKER = 160
_FACE = (True, True, False, True)
_DARK = (False, False, False, True)
_CLEAR = (False, False, False, False)


def smile(*, wink: bool = False) -> bytes:
    """Draw a round face as a WebP for a sticker; it is see-through around the face."""
    return _webp(STICKER, _face(wink=wink))


@cache
def winking() -> bytes:
    """Draw the same face, winking from time to time, as an animated WebP."""
    frames = ((_face(wink=False), 900), (_face(wink=True), 160))
    return _animated_webp(STICKER, frames)


def _face(*, wink: bool) -> list[tuple[bool, bool, bool, bool]]:
    """For each pixel, which of two levels red, green, blue and opacity have."""
    return [_feature(x - 80, y - 80, wink=wink) for y in range(STICKER) for x in range(STICKER)]


def _feature(x: int, y: int, *, wink: bool) -> tuple[bool, bool, bool, bool]:
    far = x * x + y * y
    if far > 76 * 76:
        return _CLEAR
    eyes = ((x + 26) ** 2 + (y + 18) ** 2 < 90, (x - 26) ** 2 + (y + 18) ** 2 < 90)
    if wink and x > 0 and y < 0:
        eyes = (False, abs(y + 18) < 4 and abs(x - 26) < 14)
    smile = y > 8 and 38 * 38 < x * x + (y - 4) ** 2 < 47 * 47
    return _DARK if any(eyes) or smile else _FACE


def _lossless(side: int, pixels: list[tuple[bool, bool, bool, bool]]) -> bytes:
    """A VP8L bit stream in which each channel has two values, so that a pixel takes four bits.

    https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification
    """
    bits: list[tuple[int, int]] = [(0x2F, 8), (side - 1, 14), (side - 1, 14), (1, 1), (0, 3)]
    bits += [(0, 1), (0, 1), (0, 1)]  # no transform, no colour cache, one set of codes
    for low, high in ((62, 205), (48, 255), (35, 235), (0, 255)):  # green, red, blue, opacity
        bits += [(1, 1), (1, 1), (1, 1), (low, 8), (high, 8)]  # a simple code with two symbols
    bits += [(1, 1), (0, 1), (0, 1), (0, 1)]  # no distances are used
    for red, green, blue, opaque in pixels:
        bits += [(green, 1), (red, 1), (blue, 1), (opaque, 1)]
    whole, place = 0, 0
    out = bytearray()
    for value, length in bits:
        whole |= int(value) << place
        place += length
        while place >= 8:
            out.append(whole & 0xFF)
            whole >>= 8
            place -= 8
    if place:
        out.append(whole & 0xFF)
    return bytes(out)


def _riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _webp(side: int, pixels: list[tuple[bool, bool, bool, bool]]) -> bytes:
    return _riff(b"RIFF", b"WEBP" + _riff(b"VP8L", _lossless(side, pixels)))


def _animated_webp(side: int, frames: tuple[tuple[list[tuple[bool, bool, bool, bool]], int], ...]) -> bytes:
    """Each frame with its milliseconds (https://developers.google.com/speed/webp/docs/riff_container)."""
    size = (side - 1).to_bytes(3, "little")
    parts = [_riff(b"VP8X", b"\x12\0\0\0" + size + size), _riff(b"ANIM", b"\0\0\0\0\0\0")]
    for pixels, milliseconds in frames:
        # In place of the frame before, not over it.
        head = b"\0" * 6 + size + size + milliseconds.to_bytes(3, "little") + b"\x02"
        parts.append(_riff(b"ANMF", head + _riff(b"VP8L", _lossless(side, pixels))))
    return _riff(b"RIFF", b"WEBP" + b"".join(parts))
