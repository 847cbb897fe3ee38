"""What filters become in the list's SQL: conditions on the session, choices between conditions, and tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dragoman.domain.search_words import Search


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on ``s``, the session; each ``{}`` stands for one of *values* in turn."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(slots=True)
class CompiledFilters:
    """Filters as SQL: conditions that must all hold, choices of which one must hold each, and tests.

    A *choice* whose conditions each have an index in the list's order is asked as so many ordered scans. *phones*
    (LIKE patterns) and *words* (a tsquery) are tests that no index answers; ``impossible``: nothing can fit.
    ``search`` is what the words were read as, for whoever looks up or marks what they found.
    """

    conditions: list[Condition] = field(default_factory=list)
    choices: list[list[Condition]] = field(default_factory=list)
    phones: list[str] | None = None
    words: str | None = None
    words_since: datetime | None = None
    search: Search | None = None
    impossible: bool = False

    @property
    def needs_scan(self) -> bool:
        """Whether there is something that must be tested row by row."""
        return self.phones is not None or self.words is not None

    def add(self, condition: Condition | list[Condition]) -> None:
        """Narrow it by a condition, or by a choice; one that has nothing to choose from fits nothing."""
        if isinstance(condition, Condition):
            self.conditions.append(condition)
        elif condition:
            self.choices.append(condition)
        else:
            self.impossible = True
