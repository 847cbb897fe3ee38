"""Filters for tests, in which a filter that takes several values may be given one."""

from __future__ import annotations

from typing import Any

from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.store.conversation_list.filters import Filters

_SEVERAL = frozenset(each.name for each in FILTERS if each.several)


def filters_of(**given: Any) -> Filters:
    """The filters of these names; what is no tuple where one belongs is its only value."""
    values: dict[str, Any] = dict(given)
    for name in _SEVERAL & values.keys():
        values[name] = values[name] if isinstance(values[name], tuple) else (values[name],)
    return Filters(**values)
