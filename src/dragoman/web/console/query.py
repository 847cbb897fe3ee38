"""What the address of the Conversation Logs says: filters, place in the list, columns; read, checked, written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from dragoman.domain.text_values import is_day
from dragoman.store.conversation_list.conversations import NEWEST, Filters, SortOrder
from dragoman.store.conversation_list.filter_catalogue import FILTERS, NEGATIONS, FilterField
from dragoman.translations import deferred, message_of, translated
from dragoman.translations import gettext as _
from dragoman.web.console import columns, filter_times
from dragoman.web.console.formatting import Times

ADDRESS = "/communications/automation/logs"
COOKIE = "columns"
_LONGEST = 200
_MOST_VALUES = 50
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

CONSOLE_FILTERS = tuple(sorted((each for each in FILTERS if each.console), key=lambda each: each.name != "q"))
"""The filters that an address may have, in their order there: the words first."""

_NAMES = frozenset(each.console for each in CONSOLE_FILTERS)

NOT = "!"
"""Before a value of a filter that can be negated: any but this one."""

PERIODS: Mapping[str, tuple[str, timedelta]] = {
    "1h": (deferred("Last hour"), timedelta(hours=1)),
    "24h": (deferred("Last 24 hours"), timedelta(hours=24)),
    "7d": (deferred("Last 7 days"), timedelta(days=7)),
    "30d": (deferred("Last 30 days"), timedelta(days=30)),
}
"""Times up to now, by their text in addresses: what each is called, and how long it is."""

_PERIOD_STARTS_EVERY = timedelta(minutes=5)
"""A list that is followed live asks for the same list for some minutes; each other one is an entry on record."""


@dataclass(frozen=True, slots=True)
class FilterError:
    """A filter that cannot be used: which, and what to do, in one sentence."""

    parameter: str
    advice: str

    def __str__(self) -> str:
        return f"{self.parameter} {self.advice}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One view of the list: the texts of each filter under its name in addresses, and how the list is shown.

    Without a text a filter narrows nothing; ``last`` is one of :data:`PERIODS`, up to ``now``. ``columns`` are those
    that are shown, in order. Days are those of ``zone``, that of the page which shows them: an address and a saved view
    keep the day, and whoever opens them has theirs.
    """

    texts: Mapping[str, tuple[str, ...]]
    last: str = ""
    sort: str = ""
    cursor: str = ""
    columns: tuple[str, ...] = field(default=columns.DEFAULT)
    zone: tzinfo = UTC
    now: datetime = field(default=datetime(1970, 1, 1, tzinfo=UTC), compare=False)

    @classmethod
    def read(cls, given: QueryParams, cookies: Mapping[str, str], times: Times) -> ListQuery:
        """The query as given, not yet checked; columns that are not named are the remembered ones."""
        sort = given.get("sort", "").strip()
        if "col" in given:
            keys = given.getlist("col")
        else:
            keys = (given.get("cols") or cookies.get(COOKIE, "")).replace("%2C", ",").split(",")
        texts = {each.console: _texts(each, given) for each in CONSOLE_FILTERS}
        return cls(
            texts=texts,
            # Whoever gives an exact time has done with the time up to now that the form still holds.
            last="" if texts["from"] or texts["to"] else given.get("last", "").strip(),
            sort="" if sort == str(NEWEST) else sort,
            cursor=given.get("cursor", "").strip(),
            columns=columns.chosen(keys),
            zone=times.zone,
            now=times.now,
        )

    def __getitem__(self, name: str) -> str:
        """The text of the filter that addresses call *name*; the first one where it has several."""
        return next(iter(self.texts[name]), "")

    def chosen(self, name: str) -> tuple[str, ...]:
        """The values of a filter that takes several, without the mark of those that are left out."""
        return tuple(text.removeprefix(NOT) for text in self.texts[name])

    def is_negated(self, name: str) -> bool:
        """Whether the values of the filter are to be left out."""
        return self[name].startswith(NOT)

    def check(self) -> None:
        """Refuse the request if something of it cannot be used."""
        if found := self.filter_errors():
            raise HTTPException(422, str(found[0]))

    def filter_errors(self) -> list[FilterError]:
        """What of it cannot be used; :meth:`filters` may be called when this is empty."""
        found: dict[str, str] = {}
        for name, text in self._parts():
            if len(text) > _LONGEST:
                # Translators: this and the other advice follow the name of a filter: "phone is longer than …".
                found[name] = _("is longer than %(most)s characters.", most=_LONGEST)
            elif _CONTROL.search(text):
                found[name] = _("holds a control character.")
        for name, texts in self.texts.items():
            if len(texts) > _MOST_VALUES:
                found[name] = _("has more than %(most)s values.", most=_MOST_VALUES)
        for name, wanted, texts in self._asked():
            try:
                wanted.read(texts, self.zone)
            except ValueError as error:
                found.setdefault(name, translated(wanted.kind.refusal) or _refused(error, "."))
        if self.last and self.last not in PERIODS:
            found.setdefault("last", _("cannot be used: use one of %(choices)s.", choices=", ".join(PERIODS)))
        try:
            self.order  # noqa: B018 - reading it is the check
        except ValueError as error:
            found.setdefault("sort", _refused(error, "."))
        if not found:
            try:
                filter_times.bounds({name: self[name] for name in ("from", "to")}, self.zone)
            except ValueError as error:
                found["to"] = _refused(error)
        return [FilterError(name, advice) for name, advice in found.items()]

    def filters(self) -> Filters:
        """Give the same to the store."""
        filters = Filters(**{wanted.name: wanted.read(texts, self.zone) for _, wanted, texts in self._asked()})
        if not self.last:
            return filters
        since = self.now - PERIODS[self.last][1]
        since -= timedelta(seconds=since.timestamp() % _PERIOD_STARTS_EVERY.total_seconds())
        return dataclasses.replace(filters, since=max(since, filters.since or since))

    def _asked(self) -> Iterator[tuple[str, FilterField, tuple[str, ...]]]:
        """Each filter that is set: its name here, which one is meant, and the texts of its values."""
        for each in CONSOLE_FILTERS:
            texts = self.texts[each.console]
            negation = NEGATIONS.get(each.name)
            unwanted = tuple(text.removeprefix(NOT) for text in texts if negation and text.startswith(NOT))
            wanted = texts if not unwanted else tuple(text for text in texts if not text.startswith(NOT))
            if negation is not None and unwanted:
                yield each.console, negation, unwanted
            if wanted:
                yield each.console, each, wanted

    def _parts(self) -> list[tuple[str, str]]:
        given = [(name, text) for name, texts in self.texts.items() for text in texts]
        return [*given, ("last", self.last), ("sort", self.sort), ("cursor", self.cursor)]

    @property
    def order(self) -> SortOrder:
        """Is the order of the list."""
        return SortOrder.parse(self.sort) if self.sort else NEWEST

    @property
    def narrowed(self) -> bool:
        """Whether any filter is set."""
        return bool(self.set_filters)

    @property
    def set_filters(self) -> list[str]:
        """The filters that are set, by their names in addresses."""
        return [*(name for name, texts in self.texts.items() if texts), *(["last"] if self.last else [])]

    @property
    def set_values(self) -> list[tuple[str, str]]:
        """Each value that is set, with the name of its filter in addresses."""
        given = [(name, text) for name, texts in self.texts.items() for text in texts]
        return [*given, *([("last", self.last)] if self.last else [])]

    @property
    def own_columns(self) -> bool:
        """Whether the columns are not the usual ones."""
        return self.columns != columns.DEFAULT

    @property
    def string(self) -> str:
        """Write the canonical query string with its question mark; empty for the bare list."""
        parts = self._parts()
        if self.own_columns:
            parts.append(("cols", ",".join(self.columns)))
        text = urlencode([(name, value) for name, value in parts if value], safe=",!")
        return f"?{text}" if text else ""

    def address(self, session_id: UUID | None = None, /, **changes: str | tuple[str, ...]) -> str:
        """The list's address, or that of one conversation in it; with *changes* it starts at the newest.

        An empty text takes a filter away, a tuple gives it several values.
        """
        changed = self
        if changes:
            texts = {**self.texts, **{name: _tuple(value) for name, value in changes.items() if name in _NAMES}}
            others = {name: value for name, value in changes.items() if name not in _NAMES}
            changed = dataclasses.replace(self, texts=texts, **{"cursor": "", **others})  # type: ignore[arg-type]
        return f"{ADDRESS}{'' if session_id is None else f'/{session_id}'}{changed.string}"

    def without(self, name: str, text: str) -> str:
        """Write the list's address without one of the values of a filter."""
        if name not in _NAMES:
            return self.address(**{name: ""})
        return self.address(**{name: tuple(other for other in self.texts[name] if other != text)})

    def cleared(self) -> str:
        """Write the list's address without any filter; columns and order stay."""
        return self.address(**dict.fromkeys(self.set_filters, ""))


def _refused(error: ValueError, end: str = "") -> str:
    """What is wrong with a filter, in the reader's language where the error was made to be translated."""
    reason = f"{translated(message_of(error))}{end}"
    return _("cannot be used: %(reason)s", reason=reason)


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,) if value else ()


def _texts(each: FilterField, given: QueryParams) -> tuple[str, ...]:
    """The texts of one filter: of one that takes a single value the last, which a form sends where it has two fields.

    A form leaves out what is ticked where it says so (``outcome_is=not``), and gives a day's time of day beside the day
    (``from_time``).
    """
    name = each.console
    texts = [text for text in (text.strip() for text in given.getlist(name)) if text]
    if each.several:
        if given.get(f"{name}_is") == "not":
            texts = [f"{NOT}{text.removeprefix(NOT)}" for text in texts]
        return tuple(dict.fromkeys(texts))
    clock = given.get(f"{name}_time", "").strip()
    if texts and clock and is_day(texts[-1]):
        return (f"{texts[-1]}T{clock}",)
    return tuple(texts[-1:])
