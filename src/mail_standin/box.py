"""Keeps what was received, one file for each mail, named by when it came; the oldest go when there are too many."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

MOST_KEPT = 500
_NAME = re.compile(r"[0-9]{13,16}-[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxedMail:
    """One mail: its name here, who it was for by the envelope, and the mail as it came."""

    name: str
    recipient: str
    message: EmailMessage


class MailBox:
    """The folder with the mails; ``clock`` says when one came, in seconds since 1970."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self._numbers = itertools.count(os.getpid())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, recipient: str, content: bytes) -> str:
        """Keep a mail; its name. It is there whole or not at all."""
        name = f"{int(self._clock() * 1000):013d}-{next(self._numbers) % 10**9}"
        draft = self._folder / f"{name}.new"
        draft.write_bytes(recipient.encode("utf-8", "replace") + b"\n" + content)
        draft.rename(self._folder / f"{name}.eml")
        for old in self._names()[MOST_KEPT:]:
            (self._folder / f"{old}.eml").unlink(missing_ok=True)
        return name

    def _names(self) -> list[str]:
        return sorted((path.stem for path in self._folder.glob("*.eml")), reverse=True)

    def list_newest(self, limit: int) -> list[BoxedMail]:
        """List the latest mails, the newest first."""
        found = (self.get(name) for name in self._names()[:limit])
        return [mail for mail in found if mail is not None]

    def get(self, name: str) -> BoxedMail | None:
        """One mail by its name; None where there is none."""
        if not _NAME.fullmatch(name):
            return None
        try:
            recipient, _, content = (self._folder / f"{name}.eml").read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        message = BytesParser(policy=policy.default).parsebytes(content)
        if not isinstance(message, EmailMessage):
            return None
        return BoxedMail(name=name, recipient=recipient.decode("utf-8", "replace"), message=message)
