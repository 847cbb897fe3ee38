"""Keeps the values of secret parameters off the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

T = TypeVar("T")

_SHORTEST = 3


def hidden() -> str:
    """What stands on record in place of a secret."""
    return "[redacted]"


def without(secrets: Sequence[str], value: T) -> T:
    """*value* with every occurrence of a secret in its strings, and every number that is one, hidden.

    Secrets of one or two characters are hidden only where they are the whole value: they would blot out
    half of any text.
    """
    return cast(T, _without(secrets, value)) if secrets else value


def _without(secrets: Sequence[str], value: object) -> object:
    match value:
        case dict():
            return {key: _without(secrets, item) for key, item in value.items()}
        case list() | tuple():
            return [_without(secrets, item) for item in value]
        case str():
            for secret in sorted(secrets, key=len, reverse=True):
                if value == secret:
                    return hidden()
                if len(secret) >= _SHORTEST:
                    value = value.replace(secret, hidden())
            return value
        case bool() | None:
            return value
        case _:
            return hidden() if str(value) in secrets else value
