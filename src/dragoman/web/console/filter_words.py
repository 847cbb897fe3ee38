"""Says in words what a filter of the conversations asks for: for whoever reads what was looked for, or taken out."""

from __future__ import annotations

from datetime import datetime

from dragoman.domain import skill_calls
from dragoman.domain.text_values import is_day
from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.web.console.formatting import Times

NAMES = {each.name: each.label for each in FILTERS}
"""What each filter is called."""

_MOMENTS = frozenset(each.name for each in FILTERS if each.kind.api_type is datetime)


def said(name: str, value: str, times: Times) -> str:
    """Write the *value* of the filter called *name* for this reader; one that says enough itself stays as it is."""
    if name == "ran":
        return calls(value, times)
    return times.asked(value) if name in _MOMENTS else value


def calls(text: str, times: Times) -> str:
    """Write the text form of :class:`~dragoman.domain.skill_calls.SkillCalls` in words."""
    skill, result, since, until = (text.split(",") + [""] * 3)[:4]
    until_word = "to" if is_day(until) else "before"
    parts = (
        "any skill" if skill == skill_calls.ANY else skill,
        result,
        f"from {times.asked(since)}" if since else "",
        f"{until_word} {times.asked(until)}" if until else "",
    )
    return ", ".join(part for part in parts if part)
