"""Says in words what a filter of the conversations asks for: for whoever reads what was looked for, or taken out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dragoman.domain import skill_calls
from dragoman.domain.text_values import is_day
from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.translations import gettext as _
from dragoman.translations import translated
from dragoman.web.console.formatting import Times
from dragoman.web.console.wording import OUTCOMES, STATES, OutcomeWords, StateWords

NAMES = {each.name: each.label for each in FILTERS}
"""What each filter is called."""

_LABELS: Mapping[str, Mapping[str, StateWords] | Mapping[str, OutcomeWords]] = {
    "state": STATES, "not_state": STATES, "outcome": OUTCOMES, "not_outcome": OUTCOMES,
    "had_outcome": OUTCOMES,
}  # fmt: skip
_CALLED = {each.name: each.called for each in FILTERS if each.called}
_MOMENTS = frozenset(each.name for each in FILTERS if each.kind.api_type is datetime)


def describe_filter(name: str, value: str | bool | list[str], times: Times) -> str:
    """Write the *value* of the filter called *name*, as JSON has it; one that says enough itself stays as it is."""
    if (word := _CALLED.get(name, {}).get(str(value).lower())) is not None:
        return translated(word)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return _(" or ").join(describe_filter(name, one, times) for one in value)
    if name == "ran":
        return calls(value, times)
    if name in _MOMENTS:
        return times.asked(value)
    return translated(_LABELS[name][value].label) if value in _LABELS.get(name, {}) else value


def calls(text: str, times: Times) -> str:
    """Write the text form of :class:`~dragoman.domain.skill_calls.SkillCalls` in words."""
    skill, result, since, until = (text.split(",") + [""] * 3)[:4]
    parts = [_("any skill") if skill == skill_calls.ANY else skill, result]
    if since:
        parts.append(_("from %(time)s", time=times.asked(since)))
    if until and is_day(until):
        parts.append(_("to %(day)s", day=times.asked(until)))
    elif until:
        parts.append(_("before %(time)s", time=times.asked(until)))
    return ", ".join(part for part in parts if part)
