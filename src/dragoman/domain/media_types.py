"""What a file is, by its own bytes: its type, its size as a picture, how long it plays.

What the channel or the file's name says of it is a claim of whoever sent it. Only what is found here decides
whether a browser may show a file; a type that is not known here is for downloading.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass

from dragoman.bounded import reads_outside_text
from dragoman.domain.plain_text import cut

HEAD_BYTES = 256 * 1024
"""How much of a file's beginning is looked at; a photo's size stands behind its EXIF data, of up to 64 KB."""

TAIL_BYTES = 64 * 1024
"""How much of its end; an Ogg page has at most 65,307 bytes."""

INLINE = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "audio/aac",
        "audio/amr",
        "audio/flac",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/wav",
        "video/mp4",
        "video/3gpp",
        "video/webm",
    }
)
"""Types that a browser may show in a page; none of them can carry script. Everything else is an attachment."""

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"OggS\x00", "audio/ogg"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
)

# ISO base media files name their kind in the brand after "ftyp".
_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime"}

UNKNOWN = "application/octet-stream"

BY_NAME = frozenset({"application/zip", UNKNOWN})
"""Types that the bytes of an office document or a text prove, which is what they are called says more about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """Says what a file's bytes prove: pixels of pictures, ``seconds`` of sound, each None if not known."""

    mime_type: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


def look(head: bytes, tail: bytes = b"") -> MediaFacts:
    """Judge a file by its first :data:`HEAD_BYTES` and last :data:`TAIL_BYTES`. Total: never raises."""
    mime_type = sniff(head)
    size: tuple[int, int] | None = None
    seconds: float | None = None
    try:
        size = _size(mime_type, head)
        seconds = _seconds(mime_type, head, tail)
    except (struct.error, IndexError, ValueError):
        # Cut short or broken: shown without a reserved place.
        pass
    width, height = size if size and all(0 < side <= 32767 for side in size) else (None, None)
    plausible = seconds is not None and 0 < seconds < 86400
    return MediaFacts(mime_type=mime_type, width=width, height=height, seconds=seconds if plausible else None)


def sniff(head: bytes) -> str:
    """Name the type that the first bytes prove, or :data:`UNKNOWN`."""
    for prefix, mime_type in _PREFIXES:
        if head.startswith(prefix):
            return mime_type
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "video/3gpp" if brand[:2] == b"3g" else _BRANDS.get(brand, "video/mp4")
    if len(head) > 2 and head[0] == 0xFF:
        # Eleven set bits begin a frame of MPEG audio; layer 0 is ADTS, which carries AAC.
        if head[1] & 0xF6 == 0xF0:
            return "audio/aac"
        if head[1] & 0xE6 in {0xE2, 0xE4} and head[2] >> 4 not in {0, 15}:
            return "audio/mpeg"
    return UNKNOWN


def _size(mime_type: str, head: bytes) -> tuple[int, int] | None:
    match mime_type:
        case "image/png":
            return struct.unpack_from(">II", head, 16)
        case "image/gif":
            return struct.unpack_from("<HH", head, 6)
        case "image/jpeg":
            return _jpeg_size(head)
        case "image/webp":
            return _webp_size(head)
        case _:
            return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Out of the frame header; a picture that its EXIF data turns by 90 degrees has its sides changed over."""
    place, turned = 2, False
    while place + 9 < len(head):
        if head[place] != 0xFF:
            return None
        marker, length = head[place + 1], struct.unpack_from(">H", head, place + 2)[0]
        if marker == 0xE1 and head[place + 4 : place + 10] == b"Exif\0\0":
            turned = _exif_orientation(head[place + 10 : place + 2 + length]) in {5, 6, 7, 8}
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", head, place + 5)
            return (height, width) if turned else (width, height)
        place += 2 + length
    return None


def _exif_orientation(tiff: bytes) -> int:
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for number in range(min(count, 200)):
        tag, _kind, _count, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * number)
        if tag == 0x0112:
            return int(value)
    return 1


def _webp_size(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def _seconds(mime_type: str, head: bytes, tail: bytes) -> float | None:
    match mime_type:
        case "audio/ogg":
            return _ogg_seconds(head, tail)
        case "audio/wav":
            (rate,) = struct.unpack_from("<I", head, 28)
            data = head.find(b"data", 12)
            return float(struct.unpack_from("<I", head, data + 4)[0] / rate) if data > 0 and rate else None
        case "audio/mp4" | "video/mp4" | "video/3gpp":
            # The header that holds it stands at either end.
            return _movie_seconds(head) or _movie_seconds(tail)
        case _:
            return None


def _ogg_seconds(head: bytes, tail: bytes) -> float | None:
    """The last page's position over the rate; Opus counts in 48 kHz whatever was recorded (RFC 7845, section 4)."""
    last = (tail or head).rfind(b"OggS\x00")
    if last < 0:
        return None
    (position,) = struct.unpack_from("<q", tail or head, last + 6)
    if b"OpusHead" in head[:128]:
        return float(position / 48000)
    place = head.find(b"\x01vorbis", 0, 128)
    if place >= 0:
        return float(position / struct.unpack_from("<I", head, place + 12)[0])
    place = head.find(b"fLaC", 0, 128)
    rate = int.from_bytes(head[place + 18 : place + 21], "big") >> 4
    return float(position / rate) if place >= 0 and rate else None


def _movie_seconds(part: bytes) -> float | None:
    place = part.find(b"mvhd")
    if place < 0:
        return None
    if part[place + 4] == 1:
        scale, length = struct.unpack_from(">IQ", part, place + 24)
    else:
        scale, length = struct.unpack_from(">II", part, place + 16)
    return float(length / scale) if scale else None


# Control characters, what divides paths, and what turns the order of letters around ("gpj.exe" for "exe.jpg").
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+')
_LONGEST = 120


@reads_outside_text
def safe_filename(given: str | None, *, otherwise: str) -> str:
    """*given* as a name that no system takes for anything but a name; *otherwise* where nothing is left of it."""
    name = _UNSAFE.sub("_", given or "").strip(" ._")
    if len(name) > _LONGEST:
        stem, dot, extension = name.rpartition(".")
        kept = f"{dot}{extension}" if dot and len(extension) <= 10 else ""
        name = cut(stem or name, _LONGEST - len(kept)) + kept
    return name or otherwise


EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/flac": ".flac",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "video/mp4": ".mp4",
    "video/3gpp": ".3gp",
    "video/webm": ".webm",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
}
"""How files of a type are named that come without a name."""


def read_sha256(written: str | None) -> bytes | None:
    """Read a digest as channels write it, in base64 or in hex; None for anything else."""
    if written is None:
        return None
    try:
        digest = bytes.fromhex(written) if len(written) == 64 else base64.b64decode(written, validate=True)
    except (ValueError, binascii.Error):
        return None
    return digest if len(digest) == 32 else None
