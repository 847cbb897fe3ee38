"""What somebody types to find a phone number, against numbers in E.164."""

from __future__ import annotations

from dragoman.numbering import digits_of


def patterns(phone: str, *, whole: bool = False) -> list[str]:
    """The LIKE patterns that find *phone*, any part of a number in any formatting, in E.164 numbers.

    With *whole* only a complete number is found, in its international or national form.

    ``0043 660…`` and ``+43 (0)660…`` are the international forms, ``0660…`` the national one behind a country code
    of one to three digits (ITU-T E.164, 6.1). What has no digit finds nothing.
    """
    digits = digits_of(phone)
    if not digits:
        return []
    significant = digits.lstrip("0")
    rest = "" if whole else "%"
    found = [f"+{digits}" if whole else f"%{digits}%"]
    if digits.startswith("00") and significant:
        found.append(f"+{significant}{rest}")
    elif digits.startswith("0") and significant:
        found += [f"+{'_' * code}{significant}{rest}" for code in (1, 2, 3)]
    return found


def core_of(phone: str) -> str:
    """Digits that stand in every number that *phone* finds: for an index, before :func:`patterns`."""
    digits = digits_of(phone)
    return digits.lstrip("0") if digits.startswith("0") else digits
