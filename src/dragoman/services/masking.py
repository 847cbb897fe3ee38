"""Hides phone numbers from those who may not see them: the one rule for pages, API, exports and live updates.

A number keeps its country code and its last two digits. Where it stands in text it is found in any formatting and in
its international and national forms, and so is every part of it that has five digits. In what colleagues typed (notes,
tags, views) every such run of digits is hidden, whosever it is: a mask that hid some only would tell which are right.
WhatsApp's message ids hold the contact's number in base64: they become stand-ins that still tell equal from different,
so that quotes and reactions find their message. Decision page: 0044.
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

_MAIL_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_WAMID = re.compile(r"wamid\.[A-Za-z0-9+/=_-]+")
_BETWEEN = r"[\s()./\-\u2010-\u2015]{0,4}"
LEAST_PART = 5
"""So many digits of a number in a row are hidden, however they are split."""

_RUN = re.compile(rf"\d(?:(?:[^\w{HIDDEN[0]}]|_){{0,6}}\d)*")
"""Digits in any script, with what people put between them; not a mask, so that what is masked stays as it is."""

_FEWEST_NATIONAL = 6
"""Of a shorter national number only the whole international form is looked for: four digits may be anything."""


def phone(number: str) -> str:
    """The number as it is shown to those who may not see it: ``+43••••••67``."""
    digits = re.sub(r"[^0-9]", "", number)
    code = country_code(digits) if number.startswith("+") and len(digits) > _FEWEST_NATIONAL else ""
    return f"{'+' if code else ''}{code}{HIDDEN}{digits[-SHOWN_DIGITS:]}"


def email(address: str) -> str:
    """Write the address as it is shown to those who may not see it: ``a••••••@example.com``."""
    name, at, domain = address.rpartition("@")
    return f"{name[:1]}{HIDDEN}{at}{domain}" if at else HIDDEN


def channel_id(value: str) -> str:
    """A stand-in for the channel's id of a message: equal for equal ids, and it leads back to none of them."""
    return f"masked-{hashlib.sha256(value.encode()).hexdigest()[:16]}"


@reads_outside_text
def typed(text: str) -> str:
    """Hide all runs of :data:`LEAST_PART` digits and more in what a colleague typed, whosever number it may be."""
    return _RUN.sub(lambda found: HIDDEN if _digits_in(found.group()) >= LEAST_PART else found.group(), text)


class Mask:
    """Hides the *numbers* of one contact, and what is known by its name to hold a number or a channel's id.

    *numbers* are all that the contact ever had: those that were given up still stand in what was written then.
    """

    def __init__(self, numbers: Iterable[str | None] = ()) -> None:
        self._numbers = [number for number in dict.fromkeys(numbers) if number]
        self._patterns = [pattern for number in self._numbers if (pattern := _pattern(number)) is not None]
        self._parts = frozenset(part for number in self._numbers for part in _parts(number))

    def also(self, number: str | None) -> Mask:
        """Make the same mask with one number more."""
        return self if number is None else type(self)([*self._numbers, number])

    @reads_outside_text
    def text(self, text: str) -> str:
        """Hide the contact's numbers in the text."""
        for pattern, shown in self._patterns:
            text = pattern.sub(shown, text)
        if self._parts:
            text = _RUN.sub(lambda found: self._without_parts(found.group()), text)
        return _WAMID.sub(lambda found: channel_id(found.group()), text)

    def _without_parts(self, run: str) -> str:
        """Hide what of a *run* of digits is a part of a number."""
        places = [at for at, c in enumerate(run) if c.isdecimal()]
        digits = "".join(str(int(run[at])) for at in places)
        pieces: list[str] = []
        shown_to = 0
        for first in range(len(digits) - LEAST_PART + 1):
            if digits[first : first + LEAST_PART] not in self._parts:
                continue
            if places[first] >= shown_to:
                pieces += [run[shown_to : places[first]], HIDDEN]
            shown_to = places[first + LEAST_PART - 1] + 1
        return "".join([*pieces, run[shown_to:]])

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


class WholeMask(Mask):
    """Hides every number and every mail address: in what a rule filled in they may be anybody's."""

    @reads_outside_text
    def text(self, text: str) -> str:
        """Hide them in the text."""
        return typed(_MAIL_ADDRESS.sub(lambda found: email(found.group()), super().text(text)))


def _digits_in(run: str) -> int:
    return sum(c.isdecimal() for c in run)


@lru_cache(maxsize=4096)
def _parts(number: str) -> frozenset[str]:
    digits = re.sub(r"[^0-9]", "", number)
    return frozenset(digits[at : at + LEAST_PART] for at in range(len(digits) - LEAST_PART + 1))


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
