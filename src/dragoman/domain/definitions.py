"""Reads what people author (flows, menus) strictly, and says of every fault where it is and what would be right.

A definition is plain JSON. A fault is named by its path, so that an importer can say the line and a page the field.
Reading goes on after a fault, with a stand-in for the wrong value: an author sees all faults at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.domain.errors import DragomanError
from dragoman.domain.plain_text import cut

Path = tuple[str | int, ...]

LOCALE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
DOTTED = re.compile(r"[a-z][a-z0-9_]{0,63}\.[a-z][a-z0-9_]{0,63}")

MAX_TEXT = 1000
"""Longest text that a definition may hold: fits above WhatsApp's buttons."""

MAX_TITLE = 24
"""Longest title of something to pick: a row of a WhatsApp list."""


@dataclass(frozen=True, slots=True)
class DefinitionProblem:
    """One fault: where, and what is wrong and would be right."""

    path: Path
    text: str


class DefinitionError(DragomanError):
    """A definition cannot be used; :attr:`problems` are all of its faults, in the order of the definition."""

    def __init__(self, problems: Sequence[DefinitionProblem]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, p.path)) or 'definition'}: {p.text}" for p in problems))
        self.problems = tuple(problems)


class Form:
    """One mapping of a definition while it is read; faults go to the list that the forms of a definition share."""

    def __init__(
        self, value: object, path: Path, problems: list[DefinitionProblem], *, what: str, keys: Sequence[str]
    ) -> None:
        self.path, self.what = path, what
        self._problems = problems
        self._value: Mapping[str, Any] = {}
        if not isinstance(value, Mapping):
            self.fault(f"{what} is a mapping with the keys {', '.join(keys)}, not {shown(value)}")
            return
        self._value = value
        for key in value:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, n=1)
                hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(keys)}"
                self.fault(f"{what} has no key {key!r}; {hint}", key)

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def fault(self, text: str, *at: str | int) -> None:
        """Note a fault of this mapping, or of what stands in it *at* a key."""
        self._problems.append(DefinitionProblem((*self.path, *at), text))

    def raw(self, key: str) -> Any:
        """The value as it stands there, or None."""
        return self._value.get(key)

    def missing(self, key: str, hint: str) -> None:
        """Note that a key which must be there is not."""
        self.fault(f"{self.what} needs {key}: {hint}")

    def text(
        self, key: str, *, hint: str, required: bool = True, limit: int = 200, shape: re.Pattern[str] | None = None
    ) -> str:
        """A text of at most *limit* characters that fits *shape*; empty where it is missing or wrong."""
        value = self.raw(key)
        if value is None:
            if required:
                self.missing(key, hint)
            return ""
        if not isinstance(value, str) or not value.strip():
            self.fault(f"{key} is {hint}, not {shown(value)}", key)
        elif len(value) > limit:
            self.fault(f"{key} has {len(value)} characters; at most {limit} are allowed", key)
        elif shape is not None and not shape.fullmatch(value):
            self.fault(f"{key} is {hint}, not {shown(value)}", key)
        else:
            return value
        return ""

    def one_of(self, key: str, values: Sequence[str], *, default: str | None = None) -> str:
        """One of *values*; the *default*, or the first of them, where it is missing or wrong."""
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if value is None:
            self.missing(key, f"one of {', '.join(values)}")
        elif value not in values:
            self.fault(f"{key} is one of {', '.join(values)}, not {shown(value)}", key)
        else:
            return str(value)
        return default or values[0]

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(f"{key} is true or false, not {shown(value)}", key)
            return default
        return value

    def whole_number(self, key: str, *, default: int, low: int, high: int) -> int:
        """Read a whole number between *low* and *high*."""
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fault(f"{key} is a whole number from {low} to {high}, not {shown(value)}", key)
            return default
        return value

    def texts(
        self, key: str, *, required: bool = True, limit: int = MAX_TEXT, one_line: bool = False
    ) -> dict[str, str]:
        """Read texts by locale, sorted by it."""
        found: dict[str, str] = {}
        for locale, text in self.mapping(key, hint="texts by language, such as {en: Hello}", required=required):
            if not LOCALE.fullmatch(locale):
                self.fault(f"{locale!r} is no language; write en, de or pt-BR", key, locale)
            elif not isinstance(text, str) or not text.strip():
                self.fault(f"the {locale} text of {key} is a text, not {shown(text)}", key, locale)
            elif len(text) > limit:
                self.fault(
                    f"the {locale} text of {key} has {len(text)} characters; at most {limit} are allowed", key, locale
                )
            elif one_line and len(text.splitlines()) > 1:
                self.fault(f"the {locale} text of {key} must be one line", key, locale)
            else:
                found[locale] = text
        return dict(sorted(found.items()))

    def mapping(self, key: str, *, hint: str, required: bool = True) -> list[tuple[str, Any]]:
        """The entries of a mapping, which must have at least one where it is *required*."""
        value = self.raw(key)
        if value is None:
            if required:
                self.missing(key, hint)
            return []
        if not isinstance(value, Mapping) or (required and not value):
            self.fault(f"{key} holds {hint}, not {shown(value)}", key)
            return []
        return [(str(name), item) for name, item in value.items()]

    def items(self, key: str, *, hint: str, most: int, required: bool = True) -> Iterator[tuple[Any, Path]]:
        """Read the items of a list of at most *most*, each with its path."""
        value = self.raw(key)
        if value is None:
            if required:
                self.missing(key, hint)
            return
        if not isinstance(value, list) or (required and not value):
            self.fault(f"{key} is {hint}, not {shown(value)}", key)
            return
        if len(value) > most:
            self.fault(f"{key} has {len(value)} items; at most {most} are allowed", key)
        for number, item in enumerate(value[:most]):
            yield item, (*self.path, key, number)


def shown(value: object) -> str:
    """*value* as it is quoted in a fault: short, and by its kind where it is no scalar."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case str():
            return repr(cut(value, 40, mark="…"))
        case _:
            return repr(value)[:40]
