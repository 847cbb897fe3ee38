"""A tenant's rules of redaction: those that are ready-made and not turned off, and its own patterns.

Transactions: one for each change, with its record. A process that takes deliveries in reads a tenant's rules at most
every :data:`RULES_SECONDS`, so that a change holds within that time.

Patterns are in RE2's syntax (https://github.com/google/re2/wiki/Syntax), whose time grows with the text and with
nothing else: what contacts write is not ours to trust.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import re2

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.redaction import READY, RedactionRule, Span
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import NO_TENANT, Database
from dragoman.translations import deferred

RULES_SECONDS = 5.0
MOST_PATTERNS = 50
LONGEST_PATTERN = 500
_NAME = re.compile(r"[a-z][a-z0-9 -]{0,38}[a-z0-9]")
_PROBES = ("", " ", "a", "0", "Where is my order?", "4711")
"""What no pattern may match: it would leave nothing of any message."""


@dataclass(slots=True)
class _KnownRules:
    """What one process has read, by tenant, and when."""

    rules: dict[UUID, tuple[float, Sequence[RedactionRule]]] = field(default_factory=dict)


_known: WeakKeyDictionary[Database, _KnownRules] = WeakKeyDictionary()


async def rules_of(runtime: Runtime, tenant_id: UUID) -> Sequence[RedactionRule]:
    """The tenant's rules as they were at most :data:`RULES_SECONDS` ago; the ready-made for what is no tenant's."""
    if tenant_id == NO_TENANT:
        return tuple(READY.values())
    known = _known.setdefault(runtime.database, _KnownRules()).rules
    read_at, rules = known.get(tenant_id, (float("-inf"), ()))
    if time.monotonic() - read_at > RULES_SECONDS:
        read_at = time.monotonic()
        async with runtime.database.tenant(tenant_id) as connection:
            rules = compiled(await tenants.redaction(connection, tenant_id))
        known[tenant_id] = (read_at, rules)
    return rules


def compiled(wanted: Mapping[str, Any]) -> Sequence[RedactionRule]:
    """The rules that settings ask for; a pattern that can no longer be compiled is left out of the way."""
    own = [
        RedactionRule(name, name, finder)
        for name, pattern in wanted["patterns"].items()
        if (finder := _finder(pattern)) is not None
    ]
    return (*(rule for name, rule in READY.items() if name not in wanted["off"]), *own)


def _finder(pattern: str) -> Callable[[str], Iterator[Span]] | None:
    options = re2.Options()
    options.log_errors = False
    try:
        matcher = re2.compile(pattern, options)
    except re2.error:
        return None

    def find(text: str) -> Iterator[Span]:
        return (found.span() for found in matcher.finditer(text) if found.end() > found.start())

    return find


def fault(name: str, pattern: str) -> str | None:
    """Why a pattern cannot be taken; None for a good one."""
    if name in READY or not _NAME.fullmatch(name):
        return deferred("A name is 2 to 40 small letters, digits, spaces and hyphens, and none of a ready-made rule.")
    if not pattern or len(pattern) > LONGEST_PATTERN or not pattern.isprintable():
        return deferred("A pattern is one line of at most %(most)s characters.", most=LONGEST_PATTERN)
    options = re2.Options()
    options.log_errors = False
    try:
        matcher = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else error
        return deferred("The pattern cannot be read: %(why)s.", why=said.decode() if isinstance(said, bytes) else said)
    for probe in _PROBES:
        if matcher.search(probe) is not None:
            return deferred("The pattern is too broad: it finds something in %(example)s.", example=repr(probe))
    return None


async def turn(runtime: Runtime, tenant_id: UUID, by: Administrator, name: str, *, on: bool) -> None:
    """Turn a ready-made rule on or off. Raises NotFoundError."""
    if name not in READY:
        raise NotFoundError(f"there is no ready-made rule {name}; there are {', '.join(READY)}")

    def change(wanted: dict[str, Any]) -> None:
        wanted["off"] = sorted({*wanted["off"]} - {name} if on else {*wanted["off"], name})

    await _change(runtime, tenant_id, by, change)


async def add(runtime: Runtime, tenant_id: UUID, by: Administrator, name: str, pattern: str) -> None:
    """Add a pattern of the tenant's own. Raises ConfigurationError for one with a :func:`fault`, AlreadyTakenError."""
    if wrong := fault(name, pattern):
        raise ConfigurationError(wrong)

    def change(wanted: dict[str, Any]) -> None:
        if name in wanted["patterns"]:
            raise AlreadyTakenError(deferred("a pattern %(name)s already exists", name=name))
        if len(wanted["patterns"]) >= MOST_PATTERNS:
            raise ConfigurationError(deferred("you already have %(most)s patterns, the maximum", most=MOST_PATTERNS))
        wanted["patterns"] = {**wanted["patterns"], name: pattern}

    await _change(runtime, tenant_id, by, change)


async def remove(runtime: Runtime, tenant_id: UUID, by: Administrator, name: str) -> None:
    """Remove a pattern of the tenant's own. Raises NotFoundError."""

    def change(wanted: dict[str, Any]) -> None:
        if name not in wanted["patterns"]:
            raise NotFoundError(f"there is no pattern {name}")
        wanted["patterns"] = {known: p for known, p in wanted["patterns"].items() if known != name}

    await _change(runtime, tenant_id, by, change)


async def _change(
    runtime: Runtime, tenant_id: UUID, by: Administrator, change: Callable[[dict[str, Any]], None]
) -> None:
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        before = await tenants.redaction(connection, tenant_id)
        after = dict(before)
        change(after)
        if after != before:
            await tenants.set_redaction(connection, tenant_id, after)
            await put_on_record(
                runtime, connection, tenant_id, "redaction.changed", tenant_id, object_kind="tenant", by=by,
                before=before, after=after,
            )  # fmt: skip
    # What this process does next goes by it.
    _known.setdefault(runtime.database, _KnownRules()).rules.pop(tenant_id, None)
