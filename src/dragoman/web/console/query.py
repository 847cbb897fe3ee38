"""What the address of the Conversation Logs says: filters, place in the list, columns; read, checked, written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import QueryParams

from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.store.conversation_list.conversations import NEWEST, Filters, SortOrder
from dragoman.web.console import columns
from dragoman.web.http.parameters import channel_of, first_moment, last_moment, partner_of

ADDRESS = "/communications/automation/logs"
COOKIE = "columns"
_LONGEST = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

FILTERS = (
    "q", "phone", "skill_intent", "state", "outcome", "channel", "business_partner", "agent", "errors",
    "tag", "reviewed", "since", "until",
)  # fmt: skip
"""The fields of a query that narrow the list, in the order in which addresses name them."""
_TEXTS = (*FILTERS, "sort", "cursor")
_IN_ADDRESS = {"since": "from", "until": "to"}
_READERS: dict[str, Callable[[str], object]] = {
    "channel": channel_of, "since": first_moment, "until": last_moment, "sort": SortOrder.parse,
}  # fmt: skip
NOT = "!"
"""Before a state or an outcome: any but this one."""


@dataclass(frozen=True, slots=True)
class FilterError:
    """A filter that cannot be used: which, and what to do, in one sentence."""

    parameter: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One view of the list. Empty text narrows nothing; ``columns`` are the shown ones in order.

    ``since`` and ``until`` stand in addresses as ``from`` and ``to``: days in UTC, so that a link means the same to
    all who follow it. ``business_partner`` is a number or an id.
    """

    q: str = ""
    phone: str = ""
    skill_intent: str = ""
    state: str = ""
    outcome: str = ""
    channel: str = ""
    business_partner: str = ""
    agent: str = ""
    errors: str = ""
    tag: str = ""
    reviewed: str = ""
    since: str = ""
    until: str = ""
    sort: str = ""
    cursor: str = ""
    columns: tuple[str, ...] = field(default=columns.DEFAULT)

    @classmethod
    def read(cls, given: QueryParams, cookies: Mapping[str, str]) -> ListQuery:
        """The query as given, not yet checked; columns that are not named are the remembered ones."""
        texts = {name: given.get(_IN_ADDRESS.get(name, name), "").strip() for name in _TEXTS}
        if texts["sort"] == str(NEWEST):
            texts["sort"] = ""
        if "col" in given:
            keys = given.getlist("col")
        else:
            keys = (given.get("cols") or cookies.get(COOKIE, "")).replace("%2C", ",").split(",")
        return cls(**texts, columns=columns.chosen(keys))

    def filter_errors(self) -> list[FilterError]:
        """What of it cannot be used; :meth:`filters` may be called when this is empty."""
        found = []
        for name in _TEXTS:
            value = getattr(self, name)
            if len(value) > _LONGEST:
                found.append(FilterError(_IN_ADDRESS.get(name, name), f"is longer than {_LONGEST} characters."))
            elif _CONTROL.search(value):
                found.append(FilterError(_IN_ADDRESS.get(name, name), "holds a control character."))
        if self.state and self.state.removeprefix(NOT) not in State.__members__:
            found.append(FilterError("state", f"is not a state. Use one of {', '.join(State)}."))
        if self.outcome and self.outcome.removeprefix(NOT) not in Outcome.__members__:
            found.append(FilterError("outcome", f"is not an outcome. Use one of {', '.join(Outcome)}."))
        for name in ("errors", "reviewed"):
            if getattr(self, name) not in {"", "true", "false"}:
                found.append(FilterError(name, "is not true or false."))
        for name, reader in _READERS.items():
            value = getattr(self, name)
            try:
                if value:
                    reader(value)
            except ValueError as error:
                found.append(FilterError(_IN_ADDRESS.get(name, name), f"cannot be used: {error}."))
        return found

    def filters(self) -> Filters:
        """The same for the store."""
        state, outcome = self.state, self.outcome
        return Filters(
            q=self.q or None,
            phone=self.phone or None,
            skill_or_intent=self.skill_intent or None,
            state=State(state) if state and not state.startswith(NOT) else None,
            not_state=State(state.removeprefix(NOT)) if state.startswith(NOT) else None,
            outcome=Outcome(outcome) if outcome and not outcome.startswith(NOT) else None,
            not_outcome=Outcome(outcome.removeprefix(NOT)) if outcome.startswith(NOT) else None,
            channel=channel_of(self.channel) if self.channel else None,
            business_partner=partner_of(self.business_partner) if self.business_partner else None,
            agent=self.agent or None,
            errors={"true": True, "false": False}.get(self.errors),
            tag=self.tag or None,
            reviewed={"true": True, "false": False}.get(self.reviewed),
            since=first_moment(self.since) if self.since else None,
            until=last_moment(self.until) if self.until else None,
        )

    @property
    def order(self) -> SortOrder:
        """The order of the list."""
        return SortOrder.parse(self.sort) if self.sort else NEWEST

    @property
    def narrowed(self) -> bool:
        """Whether any filter is set."""
        return bool(self.set_filters)

    @property
    def set_filters(self) -> list[str]:
        """The fields of the filters that are set."""
        return [name for name in FILTERS if getattr(self, name)]

    @property
    def own_columns(self) -> bool:
        """Whether the columns are not the usual ones."""
        return self.columns != columns.DEFAULT

    @property
    def string(self) -> str:
        """The canonical query string with its question mark; empty for the bare list."""
        parts = [(_IN_ADDRESS.get(name, name), getattr(self, name)) for name in _TEXTS]
        if self.own_columns:
            parts.append(("cols", ",".join(self.columns)))
        text = urlencode([(name, value) for name, value in parts if value], safe=",!")
        return f"?{text}" if text else ""

    def address(self, session_id: UUID | None = None, **changes: str) -> str:
        """The list's address, or that of one conversation in it; with *changes* it starts at the newest."""
        changed = dataclasses.replace(self, **{"cursor": "", **changes}) if changes else self  # type: ignore[arg-type]
        return f"{ADDRESS}{'' if session_id is None else f'/{session_id}'}{changed.string}"
