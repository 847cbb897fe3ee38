"""What the address of the Conversation Logs says: filters, place in the list, columns; read, checked, written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import QueryParams

from dragoman.store.conversation_list.conversations import NEWEST, Filters, SortOrder
from dragoman.store.conversation_list.filter_catalogue import FILTERS, NEGATIONS, FilterField
from dragoman.web.console import columns

ADDRESS = "/communications/automation/logs"
COOKIE = "columns"
_LONGEST = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

CONSOLE_FILTERS = tuple(sorted((each for each in FILTERS if each.console), key=lambda each: each.name != "q"))
"""The filters that an address may have, in their order there: the words first."""

NOT = "!"
"""Before a value of a filter that can be negated: any but this one."""


@dataclass(frozen=True, slots=True)
class FilterError:
    """A filter that cannot be used: which, and what to do, in one sentence."""

    parameter: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One view of the list: the text of each filter under its name in addresses, and how the list is shown.

    An empty text narrows nothing; ``columns`` are the shown ones in order. Days are those of ``zone``, that of the page
    which shows them: an address and a saved view keep the day, and whoever opens them has theirs.
    """

    texts: Mapping[str, str]
    sort: str = ""
    cursor: str = ""
    columns: tuple[str, ...] = field(default=columns.DEFAULT)
    zone: tzinfo = UTC

    @classmethod
    def read(cls, given: QueryParams, cookies: Mapping[str, str], zone: tzinfo) -> ListQuery:
        """The query as given, not yet checked; columns that are not named are the remembered ones."""
        sort = given.get("sort", "").strip()
        if "col" in given:
            keys = given.getlist("col")
        else:
            keys = (given.get("cols") or cookies.get(COOKIE, "")).replace("%2C", ",").split(",")
        return cls(
            texts={each.console: given.get(each.console, "").strip() for each in CONSOLE_FILTERS},
            sort="" if sort == str(NEWEST) else sort,
            cursor=given.get("cursor", "").strip(),
            columns=columns.chosen(keys),
            zone=zone,
        )

    def __getitem__(self, name: str) -> str:
        """The text of the filter that addresses call *name*."""
        return self.texts[name]

    def filter_errors(self) -> list[FilterError]:
        """What of it cannot be used; :meth:`filters` may be called when this is empty."""
        found: dict[str, str] = {}
        for name, text in self._parts():
            if len(text) > _LONGEST:
                found[name] = f"is longer than {_LONGEST} characters."
            elif _CONTROL.search(text):
                found[name] = "holds a control character."
        for name, wanted, text in self._asked():
            try:
                wanted.kind.read_in(self.zone, text)
            except ValueError as error:
                found.setdefault(name, wanted.kind.refusal or f"cannot be used: {error}.")
        try:
            self.order  # noqa: B018 - reading it is the check
        except ValueError as error:
            found.setdefault("sort", f"cannot be used: {error}.")
        return [FilterError(name, advice) for name, advice in found.items()]

    def filters(self) -> Filters:
        """Give the same to the store."""
        return Filters(**{wanted.name: wanted.kind.read_in(self.zone, text) for _, wanted, text in self._asked()})

    def _asked(self) -> Iterator[tuple[str, FilterField, str]]:
        """Each filter that is set: its name here, which one is meant, and the text of its value."""
        for each in CONSOLE_FILTERS:
            text = self.texts[each.console]
            if text.startswith(NOT) and each.name in NEGATIONS:
                yield each.console, NEGATIONS[each.name], text.removeprefix(NOT)
            elif text:
                yield each.console, each, text

    def _parts(self) -> list[tuple[str, str]]:
        return [*self.texts.items(), ("sort", self.sort), ("cursor", self.cursor)]

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
        return [name for name, text in self.texts.items() if text]

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

    def address(self, session_id: UUID | None = None, **changes: str) -> str:
        """The list's address, or that of one conversation in it; with *changes* it starts at the newest."""
        texts = {name: changes.get(name, text) for name, text in self.texts.items()}
        others = {name: text for name, text in changes.items() if name not in texts}
        changed = dataclasses.replace(self, texts=texts, **{"cursor": "", **others}) if changes else self  # type: ignore[arg-type]
        return f"{ADDRESS}{'' if session_id is None else f'/{session_id}'}{changed.string}"
