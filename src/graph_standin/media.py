"""Keeps uploaded files in memory, with Meta's limits.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

_MEGABYTE = 1024 * 1024
_DOCUMENTS = (
    "application/pdf",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.openxmlformats-officedocument.",
    "text/plain",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """Is one file."""

    media_id: str
    mime_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Its digest in hex, as the media call gives it."""
        return hashlib.sha256(self.content).hexdigest()


def limit_of(mime_type: str) -> int | None:
    """The most bytes that Meta takes for this type; None for a type that it does not take."""
    base = mime_type.partition(";")[0].strip().lower()
    if base in {"image/jpeg", "image/png"}:
        return 5 * _MEGABYTE
    if base == "image/webp":
        return 500 * 1024
    if base in {"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg", "video/3gpp", "video/mp4"}:
        return 16 * _MEGABYTE
    return 100 * _MEGABYTE if base.startswith(_DOCUMENTS) else None


class Files:
    """Keeps the files by id; they are gone when the process ends."""

    def __init__(self) -> None:
        self._files: dict[str, Stored] = {}

    def put(self, mime_type: str, content: bytes) -> Stored:
        """Keep a file under a new id."""
        stored = Stored(str(10**14 + secrets.randbelow(9 * 10**14)), mime_type, content)
        self._files[stored.media_id] = stored
        return stored

    def get(self, media_id: str) -> Stored | None:
        """Get the file, or None."""
        return self._files.get(media_id)
