"""What is known of phone numbers from the world's numbering plans, as Google's libphonenumber keeps them.

Numbers are looked at and shown by it, never changed: WhatsApp's ids follow older plans in some countries
(``+52 1`` in Mexico), and an id that is written anew is another person's.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import phonenumbers

from dragoman.bounded import reads_outside_text

_ASSIGNED = frozenset(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))


def country_code(digits: str) -> str:
    """Give the country calling code that *digits*, an E.164 number without its plus sign, begin with.

    What begins with no assigned code is taken to have one of three digits, as all that are still free do.
    """
    return next((digits[:length] for length in (1, 2) if digits[:length] in _ASSIGNED), digits[:3])


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
