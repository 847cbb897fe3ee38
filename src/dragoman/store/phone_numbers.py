"""What somebody types to find a phone number, against numbers in E.164."""

from __future__ import annotations

from dataclasses import dataclass

from dragoman.numbering import digits_of, national_readings, spellings

SHORTEST_WHOLE = 8
"""So few digits are no whole number with its country code: they have no other spelling."""


@dataclass(frozen=True, slots=True)
class NumberPattern:
    """A LIKE pattern for E.164 numbers, and the ``part``: digits that stand in each number that it finds."""

    pattern: str
    part: str


def number_patterns(phone: str, *, whole: bool = False) -> list[NumberPattern]:
    """What finds *phone*, any part of a number in any formatting, in whichever way that person's number is written.

    With *whole* only a complete number is found, in its international or national form.

    ``0043 660…`` and ``+43 (0)660…`` are the international forms, ``0660…`` the national one behind a country code
    of one to three digits (ITU-T E.164, 6.1), ``8 (912) …`` one with another national prefix. What has no digit finds
    nothing.
    """
    digits = digits_of(phone)
    if not digits:
        return []
    significant = digits.lstrip("0")
    rest = "" if whole else "%"
    found = [NumberPattern(f"+{digits}" if whole else f"%{digits}%", digits)]
    if digits.startswith("00") and significant:
        found.append(NumberPattern(f"+{significant}{rest}", significant))
    elif digits.startswith("0") and significant:
        found += [NumberPattern(f"+{'_' * code}{significant}{rest}", significant) for code in (1, 2, 3)]
    if len(significant) >= SHORTEST_WHOLE:
        for number in (significant, *national_readings(digits)):
            found += [NumberPattern(f"+{written}{rest}", written) for written in spellings(number) if written != digits]
    return list(dict.fromkeys(found))


def patterns(phone: str, *, whole: bool = False) -> list[str]:
    """Give the LIKE patterns of :func:`number_patterns` alone."""
    return [one.pattern for one in number_patterns(phone, whole=whole)]


def core_of(phone: str) -> str:
    """Digits that stand in every number that *phone* finds as it is written: for an index."""
    digits = digits_of(phone)
    return digits.lstrip("0") if digits.startswith("0") else digits
