"""What came in and what was answered, one JSON line for each call, appended before the answer goes out.

A line that was written survives the death of the process; a last line cut short by it is left out.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One call.

    ``kind`` is message, read (a read receipt, perhaps with the typing indicator) or unreadable. ``wamid`` is
    the message's id if it was accepted, else None. ``to`` is the recipient as given, ``status`` the HTTP
    status of the answer. ``lost`` says that the answer was withheld on purpose.
    """

    seq: int
    at: str
    phone_number_id: str
    kind: str
    to: str | None
    type: str | None
    wamid: str | None
    status: int
    request: Any
    answer: Any
    lost: bool = False


class Journal:
    """The entries in order, in memory and, if there is a path, in a file that only grows."""

    def __init__(self, path: Path | None) -> None:
        self.entries: list[JournalEntry] = []
        self._file: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._read(path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        self.entries.extend(JournalEntry(**json.loads(line)) for line in whole.splitlines())
        if len(whole) < len(content):
            os.truncate(path, len(whole))

    def append(self, **fields: Any) -> JournalEntry:
        """Write one entry; it gets the next ``seq``. Raises OSError if it cannot be written."""
        entry = JournalEntry(seq=self.entries[-1].seq + 1 if self.entries else 1, **fields)
        if self._file is not None:
            line = json.dumps(asdict(entry), separators=(",", ":")).encode() + b"\n"
            written = os.write(self._file, line)
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError("the journal's line was cut short")
        self.entries.append(entry)
        return entry

    def find(self, *, to: str | None = None, after: int = 0, limit: int = 1000) -> list[JournalEntry]:
        """Find the first *limit* entries past *after*, oldest first, of one recipient or of all."""
        found = (entry for entry in self.entries if entry.seq > after and to in (None, entry.to))
        return [entry for entry, _ in zip(found, range(limit), strict=False)]

    def close(self) -> None:
        """Close the file; nothing may be appended any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
