"""Small pictures for the demo's conversations, painted here so that no file has to be shipped."""

from __future__ import annotations

import struct
import zlib

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
