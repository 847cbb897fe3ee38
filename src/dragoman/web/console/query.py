"""What the address of the Conversation Logs says: filters, place in the list, columns; read, checked, written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import QueryParams

from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.store.conversations import Filters
from dragoman.web.console import columns

ADDRESS = "/communications/automation/logs"
COOKIE = "columns"
_LONGEST = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A filter that cannot be used: which, and what to do, in one sentence."""

    parameter: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One view of the list. Empty text narrows nothing; ``columns`` are the shown ones in order."""

    phone: str = ""
    skill_intent: str = ""
    state: str = ""
    outcome: str = ""
    cursor: str = ""
    columns: tuple[str, ...] = columns.DEFAULT

    @classmethod
    def read(cls, given: QueryParams, cookies: Mapping[str, str]) -> Query:
        """The query as given, not yet checked; columns that are not named are the remembered ones."""
        texts = {name: given.get(name, "").strip() for name in ("phone", "skill_intent", "state", "outcome", "cursor")}
        if "col" in given:
            keys = given.getlist("col")
        else:
            keys = (given.get("cols") or cookies.get(COOKIE, "")).replace("%2C", ",").split(",")
        return cls(**texts, columns=columns.chosen(keys))

    def mistakes(self) -> list[Mistake]:
        """What of it cannot be used; :meth:`filters` may be called when this is empty."""
        found = []
        for name in ("phone", "skill_intent", "cursor"):
            value = getattr(self, name)
            if len(value) > _LONGEST:
                found.append(Mistake(name, f"is longer than {_LONGEST} characters."))
            elif _CONTROL.search(value):
                found.append(Mistake(name, "holds a control character."))
        if self.state and self.state not in State.__members__:
            found.append(Mistake("state", f"is not a state. Use one of {', '.join(State)}."))
        if self.outcome and self.outcome not in Outcome.__members__:
            found.append(Mistake("outcome", f"is not an outcome. Use one of {', '.join(Outcome)}."))
        return found

    def filters(self) -> Filters:
        """The same for the store."""
        return Filters(
            phone=self.phone or None,
            skill_or_intent=self.skill_intent or None,
            state=State(self.state) if self.state else None,
            outcome=Outcome(self.outcome) if self.outcome else None,
        )

    @property
    def narrowed(self) -> bool:
        """Whether any filter is set."""
        return bool(self.phone or self.skill_intent or self.state or self.outcome)

    @property
    def own_columns(self) -> bool:
        """Whether the columns are not the usual ones."""
        return self.columns != columns.DEFAULT

    @property
    def string(self) -> str:
        """The canonical query string with its question mark; empty for the bare list."""
        parts = [(name, getattr(self, name)) for name in ("phone", "skill_intent", "state", "outcome", "cursor")]
        if self.own_columns:
            parts.append(("cols", ",".join(self.columns)))
        text = urlencode([(name, value) for name, value in parts if value], safe=",")
        return f"?{text}" if text else ""

    def address(self, session_id: UUID | None = None, **changes: str) -> str:
        """The list's address, or that of one conversation in it; with *changes* it starts at the newest."""
        changed = dataclasses.replace(self, **{"cursor": "", **changes}) if changes else self  # type: ignore[arg-type]
        return f"{ADDRESS}{'' if session_id is None else f'/{session_id}'}{changed.string}"
