"""Says which dispatches of skills are meant, in one text: a skill, a result, from when and until when.

The text form has commas between the parts: ``orders.status,failed,2026-11-23,2026-11-29``. All but the first may be
empty or left out; an asterisk in the place of the skill stands for any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from dragoman.domain.text_values import first_moment, last_moment
from dragoman.domain.usage import InvocationResult
from dragoman.translations import deferred

ANY = "*"
PATTERN = r"^[^,\x00]{1,130}(,[a-z]*(,[^,]{0,40}){0,2})?$"
"""What the text form looks like, for a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillCalls:
    """Are the dispatches of a skill (None: of any) with that result, from ``since`` on and before ``until``."""

    skill: str | None
    result: InvocationResult | None = None
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def parse(cls, text: str, zone: tzinfo = UTC) -> SkillCalls:
        """Read the text form; days are those of *zone*. Raises ValueError with what to write."""
        if not re.fullmatch(PATTERN.removeprefix("^").removesuffix("$"), text):
            raise ValueError(deferred("use skill,result,from,to, such as orders.status,failed,2026-11-23,2026-11-29"))
        skill, result, since, until = (text.split(",") + [""] * 3)[:4]
        if result and result not in set(InvocationResult):
            raise ValueError(deferred("the result is one of %(results)s", results=", ".join(InvocationResult)))
        return cls(
            skill=None if skill == ANY else skill,
            result=InvocationResult(result) if result else None,
            since=first_moment(since, zone) if since else None,
            until=last_moment(until, zone) if until else None,
        )

    def __str__(self) -> str:
        parts = (self.skill or ANY, self.result or "", _written(self.since), _written(self.until))
        return ",".join(parts).rstrip(",")


def _written(at: datetime | None) -> str:
    return "" if at is None else at.isoformat()
