"""Files are judged by their bytes; whatever stands in them, judging ends well."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.media_types import INLINE, TAIL_BYTES, UNKNOWN, MediaFacts, look, sniff
from dragoman_shop import films, papers, pictures, recordings


def jpeg(width: int, height: int, orientation: int | None = None) -> bytes:
    exif = b""
    if orientation is not None:
        tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 3, 1, orientation) + b"\0\0\0\0"
        exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\0" * 9
    return b"\xff\xd8" + exif + b"\xff\xdb\0\x04\0\0" + frame


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(1)
        written.setframerate(8000)
        written.writeframes(b"\x80" * 12000)
    return out.getvalue()


OPUS_HEAD = b"OggS\0\x02" + b"\0" * 20 + b"\x01\x13OpusHead\x01\x01" + b"\0" * 9
OPUS = OPUS_HEAD + b"OggS\0\x04" + struct.pack("<q", 48000 * 3) + b"\0" * 20
FILM = b"\0\0\0\x18ftypmp42" + b"\0" * 12 + b"\0\0\0\x6cmoov\0\0\0\x64mvhd" + struct.pack(">IIIII", 0, 0, 0, 600, 4500)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pictures.parcel(1), MediaFacts(mime_type="image/png", width=320, height=240)),
        (pictures.smile(), MediaFacts(mime_type="image/webp", width=160, height=160)),
        (pictures.winking(), MediaFacts(mime_type="image/webp", width=160, height=160)),
        (jpeg(640, 480), MediaFacts(mime_type="image/jpeg", width=640, height=480)),
        (jpeg(640, 480, orientation=6), MediaFacts(mime_type="image/jpeg", width=480, height=640)),
        (b"GIF89a" + struct.pack("<HH", 30, 20), MediaFacts(mime_type="image/gif", width=30, height=20)),
        (recordings.hummed(0), MediaFacts(mime_type="audio/ogg", seconds=4.0)),
        (films.turning_drum(), MediaFacts(mime_type="video/mp4", seconds=2.0)),
        (OPUS, MediaFacts(mime_type="audio/ogg", seconds=3.0)),
        (sound(), MediaFacts(mime_type="audio/wav", seconds=1.5)),
        (FILM, MediaFacts(mime_type="video/mp4", seconds=7.5)),
        (papers.invoice("1", ("(a)",)), MediaFacts(mime_type="application/pdf")),
        (b"", MediaFacts(mime_type=UNKNOWN)),
    ],
    ids=lambda value: getattr(value, "mime_type", ""),
)
def test_what_a_file_is(content: bytes, expected: MediaFacts) -> None:
    assert look(content, content[-TAIL_BYTES:]) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><script>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xef\xbb\xbf<html>",
        b"  <html>",
        b"GIF88a<script>",
        b"BM" + b"\0" * 60,
        b"MZ\x90\0",
        b"\xff\xfe<\0h\0t\0m\0l\0",
        b"text",
    ],
)
def test_what_could_run_is_shown_nowhere(content: bytes) -> None:
    assert sniff(content) not in INLINE


@given(st.binary(max_size=200), st.sampled_from([pictures.smile()[:40], jpeg(9, 9, 6), OPUS, FILM, sound()[:60], b""]))
def test_judging_never_fails(noise: bytes, head: bytes) -> None:
    for cut in (head + noise, head[: len(noise)] + noise, noise + head):
        found = look(cut, cut[-50:])
        assert found.width is None or 0 < found.width <= 32767
