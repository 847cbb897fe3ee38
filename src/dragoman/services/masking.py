"""Hides phone numbers from those who may not see them: the one rule for pages, API, exports and live updates.

A number keeps its country code and its last two digits. Where it stands in text it is found in any formatting and in
its international and national forms. WhatsApp's message ids hold the contact's number in base64: they become stand-ins
that still tell equal from different, so that quotes and reactions find their message.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.numbering import country_code

HIDDEN = "••••••"
SHOWN_DIGITS = 2

_WAMID = re.compile(r"wamid\.[A-Za-z0-9+/=_-]+")
_BETWEEN = r"[\s()./\-\u2010-\u2015]{0,4}"
_FEWEST_NATIONAL = 6
"""Of a shorter national number only the whole international form is looked for: four digits may be anything."""


def phone(number: str) -> str:
    """The number as it is shown to those who may not see it: ``+43••••••67``."""
    digits = re.sub(r"[^0-9]", "", number)
    code = country_code(digits) if number.startswith("+") and len(digits) > _FEWEST_NATIONAL else ""
    return f"{'+' if code else ''}{code}{HIDDEN}{digits[-SHOWN_DIGITS:]}"


def channel_id(value: str) -> str:
    """A stand-in for the channel's id of a message: equal for equal ids, and it leads back to none of them."""
    return f"masked-{hashlib.sha256(value.encode()).hexdigest()[:16]}"


class Mask:
    """Hides the *numbers* of one contact, and what is known by its name to hold a number or a channel's id."""

    def __init__(self, numbers: Iterable[str | None]) -> None:
        self._numbers = [number for number in dict.fromkeys(numbers) if number]
        self._patterns = [pattern for number in self._numbers if (pattern := _pattern(number)) is not None]

    def also(self, number: str | None) -> Mask:
        """Make the same mask with one number more."""
        return self if number is None else Mask([*self._numbers, number])

    @reads_outside_text
    def text(self, text: str) -> str:
        """Hide the contact's numbers in the text."""
        for pattern, shown in self._patterns:
            text = pattern.sub(shown, text)
        return _WAMID.sub(lambda found: channel_id(found.group()), text)

    def value(self, value: Any) -> Any:
        """The same for anything that JSON can hold, keys included."""
        match value:
            case str():
                return self.text(value)
            case bool() | None:
                return value
            case int() | float():
                shown = self.text(str(value))
                return value if shown == str(value) else shown
            case dict():
                return {self.text(str(name)): self._member(str(name), held) for name, held in value.items()}
            case list() | tuple():
                return [self.value(held) for held in value]
            case _:
                return value

    def _member(self, name: str, held: Any) -> Any:
        if isinstance(held, str) and name in {"wa_id", "phone", "new_address", "recipient"}:
            return phone(held)
        if isinstance(held, str) and name in {"channel_message_id", "target", "reply_to"}:
            return channel_id(held)
        if name == "phones" and isinstance(held, list | tuple):
            return [phone(str(number)) for number in held]
        return self.value(held)


@lru_cache(maxsize=4096)
def _pattern(number: str) -> tuple[re.Pattern[str], str] | None:
    digits = re.sub(r"[^0-9]", "", number)
    if not digits:
        return None
    code = country_code(digits)
    national = digits[len(code) :]
    if len(national) < _FEWEST_NATIONAL:
        return re.compile(_BETWEEN.join(digits)), phone(number)
    before = rf"(?:(?:\+ ?|00 ?)?{_BETWEEN.join(code)}{_BETWEEN}(?:\(?0\)?)?{_BETWEEN}|\(?0\)?{_BETWEEN})?"
    return re.compile(before + _BETWEEN.join(national)), phone(f"+{digits}")
