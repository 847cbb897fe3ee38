"""What must not be stored: card numbers, bank accounts and access tokens in what people write, and how it is taken out.

A rule finds where such a thing stands in a text; :func:`clean` puts a mark in its place. Rules look at shape and
check digits, since contacts send numbers of orders, phones and parcels all day, which have to stay.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.translations import deferred

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """A thing to take out: its name on record, what it is called in the mark, and where it stands in a text.

    In a text of fewer than ``shortest`` characters it is not looked for.
    """

    name: str
    label: str
    find: Finder
    shortest: int = 0

    @property
    def mark(self) -> str:
        """What stands in its place."""
        return f"[{self.label} redacted]"


@reads_outside_text
def clean(text: str, rules: Sequence[RedactionRule]) -> tuple[str, Counter[str]]:
    """Take out of *text* what the rules find, one rule after the other, and count what each found."""
    found: Counter[str] = Counter()
    for rule in rules:
        if len(text) < rule.shortest:
            continue
        kept, at = [], 0
        for start, end in rule.find(text):
            if start >= at:
                kept += [text[at:start], rule.mark]
                at = end
                found[rule.name] += 1
        if kept:
            text = "".join([*kept, text[at:]])
    return text, found


def clean_json(
    value: Any, rules: Sequence[RedactionRule], *, keep: Callable[[str], bool] = lambda _: False, nested: str = ""
) -> tuple[Any, Counter[str]]:
    """Clean every text in a JSON value, but for members whose names *keep* accepts: they stay as they are.

    A number is looked at as it is written: where it is a finding, the mark takes its place. A member called *nested* is
    JSON in a text, and stays that.
    """
    found: Counter[str] = Counter()

    def walk(part: Any) -> Any:
        match part:
            case str():
                text, here = clean(part, rules)
                found.update(here)
                return text
            case bool() | None:
                return part
            case int():
                text, here = clean(str(part), rules)
                found.update(here)
                return text if here else part
            case list() | tuple():
                return [walk(item) for item in part]
            case dict():
                return {name: member(name, item) for name, item in part.items()}
            case _:
                return part

    def member(name: str, item: Any) -> Any:
        if name != nested or not isinstance(item, str):
            return item if keep(name) else walk(item)
        try:
            inner, here = clean_json(json.loads(item), rules)
        except (ValueError, RecursionError):
            return walk(item)
        found.update(here)
        return json.dumps(inner) if here else item

    return walk(value), found


_SEPARATOR = r"[\s\u200b.\-\u2010-\u2013·_/]{0,2}"
_DIGITS = re.compile(rf"\d(?:{_SEPARATOR}\d){{12,}}")

_CARDS: Sequence[tuple[range, int, tuple[int, ...]]] = (
    # The first digits, how many they are, and how long such numbers are: ISO/IEC 7812, and the networks' own pages.
    (range(4, 5), 1, (16, 19)),
    (range(51, 56), 2, (16,)),
    (range(2221, 2721), 4, (16,)),
    (range(34, 35), 2, (15,)),
    (range(37, 38), 2, (15,)),
    (range(6011, 6012), 4, (16, 17, 18, 19)),
    (range(644, 650), 3, (16, 17, 18, 19)),
    (range(65, 66), 2, (16, 17, 18, 19)),
    (range(3528, 3590), 4, (16, 17, 18, 19)),
    (range(36, 37), 2, (14,)),
    (range(38, 40), 2, (14,)),
    (range(300, 306), 3, (14,)),
    (range(62, 63), 2, (16, 17, 18, 19)),
)


@reads_outside_text
def cards(text: str) -> Iterator[Span]:
    """Find payment card numbers: issuer's first digits, length, and check digit (Luhn, ISO/IEC 7812-1 annex B).

    Digits may stand in groups. A number begins and ends where a group does, so that a part of a longer one is none;
    what follows a plus sign is a phone number.
    """
    for run in _DIGITS.finditer(text):
        if run.start() and text[run.start() - 1] == "+":
            continue
        places = [place for place in range(*run.span()) if text[place].isdecimal()]
        digits = [int(text[place]) for place in places]
        sums = _luhn_sums(digits)
        at = 0
        while at <= len(digits) - 14:
            begins = at == 0 or places[at] - places[at - 1] > 1
            size = _card_at(digits, places, sums, at) if begins else 0
            if size:
                yield places[at], places[at + size - 1] + 1
            at += size or 1


def _luhn_sums(digits: Sequence[int]) -> tuple[list[int], list[int]]:
    """Running sums of the digits with those at even, and at odd, places doubled: any part is checked at once."""
    even, odd = [0], [0]
    for place, digit in enumerate(digits):
        doubled = digit * 2 - 9 * (digit > 4)
        even.append(even[-1] + (digit if place % 2 else doubled))
        odd.append(odd[-1] + (doubled if place % 2 else digit))
    return even, odd


def _card_at(digits: Sequence[int], places: Sequence[int], sums: tuple[list[int], list[int]], at: int) -> int:
    """How many digits the card number has that begins there; 0 where none does."""
    first = int("".join(map(str, digits[at : at + 4])))
    for prefixes, width, sizes in _CARDS:
        if first // 10 ** (4 - width) not in prefixes:
            continue
        for size in reversed(sizes):
            end = at + size
            if end > len(digits) or (end < len(digits) and places[end] - places[end - 1] == 1):
                continue
            # From the right every second digit is doubled, beginning with the last but one.
            running = sums[(end - 2) % 2]
            if (running[end] - running[at]) % 10 == 0 and len(set(digits[at:end])) > 1:
                return size
    return 0


_IBAN_BEGINS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?=[ \u00a0-]?[A-Za-z0-9])", re.ASCII)
_IBAN_SIZES = {
    size: countries.split()
    for size, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
}  # fmt: skip
"""How long account numbers are, by country: the registry of ISO 13616."""

_IBAN_SIZE = {country: size for size, countries in _IBAN_SIZES.items() for country in countries}


@reads_outside_text
def ibans(text: str) -> Iterator[Span]:
    """Find international bank account numbers: country, length, and check digits (ISO 13616, modulo 97)."""
    for begin in _IBAN_BEGINS.finditer(text):
        size = _IBAN_SIZE.get(text[begin.start() : begin.start() + 2].upper())
        end = _after(text, begin.start(), size) if size else None
        if end is not None:
            compact = "".join(c for c in text[begin.start() : end] if c.isalnum()).upper()
            if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1:
                yield begin.start(), end


def _after(text: str, start: int, size: int) -> int | None:
    """Where so many letters and digits end, of which groups may stand apart; None where they do not end there."""
    place, left = start, size
    while left and place < len(text):
        if text[place].isascii() and text[place].isalnum():
            left -= 1
        elif text[place] not in " \u00a0-" or text[place - 1] in " \u00a0-":
            return None
        place += 1
    ended = place == len(text) or not (text[place].isascii() and text[place].isalnum())
    return place if not left and ended else None


_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"
    r"|(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[\w-]{20,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|AIza[\w-]{35}"
    r"|EAA[A-Za-z0-9]{60,}|dgm_[\w-]{43}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]{0,8000}(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?"
    r")|(?i:(?<=bearer )[A-Za-z0-9._~+/-]{20,}=*)",
    re.ASCII,
)


_SIGNS = (
    "eyJ", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "xox", "AKIA", "ASIA", "AIza", "EAA", "dgm_", "-----BEGIN", "earer ", "EARER ",
)  # fmt: skip
"""What one of them has in it: nearly no text has, and is told so faster."""


@reads_outside_text
def tokens(text: str) -> Iterator[Span]:
    """What opens something: JSON Web Tokens, bearer credentials, private keys, keys of services that mark theirs."""
    if any(sign in text for sign in _SIGNS):
        for found in _TOKENS.finditer(text):
            yield found.span()


READY: Mapping[str, RedactionRule] = {
    rule.name: rule
    for rule in (
        RedactionRule("card", deferred("card number"), cards, shortest=14),
        RedactionRule("iban", deferred("bank account"), ibans, shortest=15),
        RedactionRule("token", deferred("access token"), tokens, shortest=15),
    )
}
"""The rules that every tenant has, unless it turns one off."""
