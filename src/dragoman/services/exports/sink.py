"""Where a library writes to that wants a file, while what it writes is sent away piece by piece."""

from __future__ import annotations

import io
from typing import Any


class Sink(io.RawIOBase):
    """Takes what a library writes until it is fetched; cannot be sought, as a connection cannot."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self.deaf = False

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep a copy of *data*, unless nobody will fetch it any more."""
        piece = bytes(data)
        if not self.deaf:
            self._pieces.append(piece)
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last time."""
        piece, self._pieces = b"".join(self._pieces), []
        return piece
