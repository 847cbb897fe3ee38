"""Guesses a contact's language at first from the calling code of the number.

It only decides in which language we begin. Calling codes: ITU-T E.164,
https://www.itu.int/pub/T-SP-E.164D
"""

from __future__ import annotations

DEFAULT_LOCALE = "en"

_CODES: dict[str, tuple[str, ...]] = {
    "de": ("41", "423", "43", "49"),
    "es": (
        *("34", "240", "51", "52", "53", "54", "56", "57", "58"),
        *("502", "503", "504", "505", "506", "507", "591", "593", "595", "598"),
        *("1787", "1809", "1829", "1849", "1939"),
    ),
    "fr": (
        *("32", "33", "352", "377", "262", "508", "590", "594", "596", "681", "687", "689"),
        *("221", "223", "224", "225", "226", "227", "228", "229", "235", "236", "237", "241", "242", "243"),
    ),
    "it": ("378", "39"),
    "pt": ("55", "351", "238", "239", "244", "245", "258"),
}
_LOCALES = {code: locale for locale, codes in _CODES.items() for code in codes}
_LONGEST = max(map(len, _LOCALES))


def locale_of(wa_id: str | None) -> str:
    """The language tag for a number's calling code, longest match first; English where nothing is known."""
    digits = (wa_id or "").removeprefix("+")
    for length in range(_LONGEST, 0, -1):
        locale = _LOCALES.get(digits[:length])
        if locale is not None:
            return locale
    return DEFAULT_LOCALE
