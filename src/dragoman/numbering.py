"""What is known of phone numbers from the world's numbering plans, as Google's libphonenumber keeps them.

Numbers are looked at, compared and shown by it, never changed: WhatsApp's ids follow older plans in some countries
(``+52 1`` in Mexico), and a message goes to the id as the channel gave it. Whether two spellings are one person's
number is decided here, by :func:`person_key`, and nowhere else (decision 0047).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

import phonenumbers
from phonenumbers import timezone

from dragoman.bounded import reads_outside_text

_ASSIGNED = frozenset(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))


def country_code(digits: str) -> str:
    """Give the country calling code that *digits*, an E.164 number without its plus sign, begin with.

    What begins with no assigned code is taken to have one of three digits, as all that are still free do.
    """
    return next((digits[:length] for length in (1, 2) if digits[:length] in _ASSIGNED), digits[:3])


_OTHER_SPELLINGS: Mapping[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    # Brazil put a 9 before mobile numbers, which began with 6 to 9; WhatsApp's older ids do not have it.
    "BR": (
        (re.compile(r"55([1-9][0-9])([6-9][0-9]{7})"), r"55\g<1>9\g<2>"),
        (re.compile(r"55([1-9][0-9])9([6-9][0-9]{7})"), r"55\1\2"),
    ),
    # Mexico had a 1 before mobile numbers, as WhatsApp's ids still do.
    "MX": ((re.compile(r"521([0-9]{10})"), r"52\1"), (re.compile(r"52([02-9][0-9]{9})"), r"521\1")),
    # Argentina has a 9 before mobile numbers that are called from abroad; the number behind it is nobody else's.
    "AR": ((re.compile(r"549([0-9]{10})"), r"54\1"), (re.compile(r"54([0-8][0-9]{9})"), r"549\1")),
}
"""By country, two spellings of one number: the first rule of each makes the one that stands for both."""


@reads_outside_text
@lru_cache(maxsize=65_536)
def person_key(number: str) -> str:
    """Digits that all spellings of one person's number have in common, and no other number has.

    *number* is an international number, with its plus sign or without. Trunk prefixes behind the country code are
    taken away as the country's plan says, and the digits that came and went in Brazil, Mexico and Argentina. What is no
    number of any plan is its own digits.
    """
    digits = _international(number.removeprefix("+"))
    for (pattern, written), _ in _OTHER_SPELLINGS.values():
        if pattern.fullmatch(digits):
            return pattern.sub(written, digits)
    return digits


def spellings(number: str) -> tuple[str, ...]:
    """Every way in which the channel may write this person's number: digits without a plus sign, its own first."""
    found = dict.fromkeys((number.removeprefix("+"), person_key(number)))
    for rules in _OTHER_SPELLINGS.values():
        found |= dict.fromkeys(p.sub(w, digits) for digits in tuple(found) for p, w in rules if p.fullmatch(digits))
    return tuple(found)


def _international(digits: str) -> str:
    """*digits* behind the plus sign without a national prefix after the country code."""
    if not digits.isascii() or not digits.isdecimal():
        return digits
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return digits
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


_REGIONS_OF_PREFIX: dict[str, list[str]] = {}
for _region in sorted(phonenumbers.SUPPORTED_REGIONS):
    _plan = phonenumbers.PhoneMetadata.metadata_for_region(_region)
    if _plan is not None and _plan.national_prefix is not None:
        _REGIONS_OF_PREFIX.setdefault(_plan.national_prefix, []).append(_region)


@reads_outside_text
@lru_cache(maxsize=1024)
def national_readings(digits: str) -> tuple[str, ...]:
    """The international numbers (digits, no plus) that *digits*, dialled inside a country, may stand for.

    Countries are those with this national prefix, and those of whose numbers there are two spellings. Only numbers that
    their plan has: ``8 912 …`` is a Russian one, and none of Belarus. The prefix 0 is left out: that of too many.
    """
    prefixes = [prefix for prefix in _REGIONS_OF_PREFIX if prefix != "0" and digits.startswith(prefix)]
    regions = [region for prefix in prefixes for region in _REGIONS_OF_PREFIX[prefix]]
    found: dict[str, None] = {}
    for region in dict.fromkeys((*regions, *_OTHER_SPELLINGS)):
        try:
            parsed = phonenumbers.parse(digits, region)
        except phonenumbers.NumberParseException:
            continue
        written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
        if phonenumbers.is_valid_number_for_region(parsed, region) or (
            region in _OTHER_SPELLINGS and phonenumbers.is_valid_number(_parsed(person_key(written)))
        ):
            found[written] = None
    return tuple(found)


def _parsed(digits: str) -> phonenumbers.PhoneNumber:
    return phonenumbers.parse(f"+{digits}")


@reads_outside_text
@lru_cache(maxsize=4096)
def parts(number: str) -> tuple[str, ...]:
    """*number*, in E.164 with its plus sign, as country code and the groups of digits that its country writes.

    Together they are the number's digits. One that no plan has is its country code and the rest.
    """
    digits = number.removeprefix("+")
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        groups = []
    else:
        shown = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        groups = re.findall(r"[0-9]+", shown)
    if "".join(groups) == digits:
        return tuple(groups)
    # A national prefix behind the country code, say, which the library takes away.
    code = country_code(digits)
    return code, digits[len(code) :]


_LONGEST_TYPED = 400


@reads_outside_text
def digits_of(typed: str) -> str:
    """Give a number's digits in ASCII, in whatever script and formatting; without the ``(0)`` of ``+43 (0)660``."""
    # No number is longer; sorting marks without end would take time that grows with their square.
    normal = unicodedata.normalize("NFKC", typed[:_LONGEST_TYPED])
    plain = phonenumbers.normalize_digits_only(normal, keep_non_digits=True)
    return re.sub(r"(?<=[0-9])\s*\(\s*0\s*\)|[^0-9]", "", plain)


def time_zone_of(number: str) -> str | None:
    """The time zone in which people with this number live, if their plan says one: ``Europe/Vienna``.

    *number* is international, with its plus sign or without. The first zone of a country with several that the number
    does not tell apart.
    """
    try:
        zones = timezone.time_zones_for_number(phonenumbers.parse(f"+{number.removeprefix('+')}"))
    except phonenumbers.NumberParseException:
        return None
    known = [zone for zone in zones if zone != timezone.UNKNOWN_TIMEZONE]
    return known[0] if known else None
