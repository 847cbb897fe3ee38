"""The skill registry, every version that was ever in it, and what the tenant decided about dispatching.

Both are read for each dispatch, so both are parsed once for each state that they are in: ``tenant.settings`` carries a
``registry_revision`` that grows with every change to the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, get_type_hints
from uuid import UUID

from babel.numbers import is_currency

from dragoman.dispatch.verification import BUILT_IN
from dragoman.domain.as_json import spec_from_json, spec_to_json
from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.flows import Flows, as_spec
from dragoman.domain.menus import Menu
from dragoman.domain.nouns import DEFAULT_CURRENCY, MenuItem, Policy, Registry, SkillSpec
from dragoman.domain.policies import (
    Budget,
    Confirmation,
    HandoffRules,
    Limits,
    Presence,
    classifier_from_json,
    part_from_json,
    part_to_json,
    routing_from_json,
)
from dragoman.store.accounts.actions import SYSTEM, Administrator
from dragoman.store.catalogue import classifier_key, flows, menus, phrases, skill_history, skill_keys
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.database import Connection
from dragoman.store.tenants import lock, next_registry_revision
from dragoman.translations import deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRules:
    """Holds a tenant's policy, registry, flows and default menu at one moment.

    ``vocabulary`` is what a classifier learns: the skills, the flows in the form of skills, with the phrases that
    administrators added to them, and what no skill is meant to answer. ``skill_keys`` sign calls of skills behind HTTP,
    by skill. ``classifier_key`` opens the server of the tenant's language model.
    """

    policy: Policy
    registry: Registry
    vocabulary: Registry
    flows: Flows = field(default_factory=dict)
    menu: Menu | None = None
    skill_keys: Mapping[str, tuple[SealedKey, ...]] = field(default_factory=dict)
    classifier_key: bytes | None = field(default=None, repr=False)


_parsed: dict[tuple[UUID, str], DispatchRules] = {}
_PARSED_LIMIT = 256


async def dispatch_rules(connection: Connection, tenant_id: UUID) -> DispatchRules:
    """What the dispatcher of this tenant goes by right now."""
    settings: dict[str, Any] = await connection.fetchval("SELECT settings FROM tenant WHERE tenant_id = $1", tenant_id)
    key = (tenant_id, repr(settings))
    if key not in _parsed:
        if len(_parsed) >= _PARSED_LIMIT:
            _parsed.clear()
        known, flowing = await registry(connection, tenant_id), await flows.list_all(connection, tenant_id)
        added = await phrases.list_all(connection, tenant_id)
        _parsed[key] = DispatchRules(
            policy=policy_from_json(settings.get("policy", {})),
            registry=known,
            vocabulary=phrases.teach(_offered(known, flowing), [one for one in added if one.is_live]),
            flows=flowing,
            menu=await menus.default(connection, tenant_id),
            skill_keys=await skill_keys.list_all(connection, tenant_id),
            classifier_key=classifier_key.sealed_in(settings),
        )
    return _parsed[key]


async def wanted_vocabulary(connection: Connection, tenant_id: UUID) -> Registry:
    """What the next version of the classifier is to learn: as ``vocabulary``, with the phrases that wait for it."""
    known, flowing = await registry(connection, tenant_id), await flows.list_all(connection, tenant_id)
    added = await phrases.list_all(connection, tenant_id)
    return phrases.teach(_offered(known, flowing), [one for one in added if one.is_wanted])


def _offered(known: Registry, flowing: Flows) -> Registry:
    return {**known, **{flow.name: as_spec(flow) for flow in flowing.values()}} if flowing else known


async def registry(connection: Connection, tenant_id: UUID) -> Registry:
    """Read every skill in its current version, retired ones included."""
    rows = await connection.fetch(
        "SELECT name, spec, retired_at FROM skill WHERE tenant_id = $1 AND current ORDER BY name", tenant_id
    )
    return {row["name"]: replace(spec_from_json(row["spec"]), retired=row["retired_at"] is not None) for row in rows}


async def labels(connection: Connection, tenant_id: UUID) -> dict[str, tuple[str, bool]]:
    """The label of every skill, and whether it is retired, by name."""
    rows = await connection.fetch(
        "SELECT name, coalesce(spec->>'label', name) AS label, retired_at IS NOT NULL AS is_retired FROM skill "
        "WHERE tenant_id = $1 AND current",
        tenant_id,
    )
    return {row["name"]: (row["label"], row["is_retired"]) for row in rows}


async def register(
    connection: Connection,
    tenant_id: UUID,
    specs: Iterable[SkillSpec],
    *,
    now: datetime,
    by: Administrator = SYSTEM,
) -> list[str]:
    """Make these, and what is built in, the current versions; names of the new and changed ones. Old ones stay.

    A retired skill stays retired, whatever version of it is registered: who retired it decides when it comes back.
    Raises AlreadyTakenError for a name that a flow has.
    """
    await lock(connection, tenant_id)
    known = await registry(connection, tenant_id)
    changed = changed_specs(known, specs)
    taken = {spec.name for spec in changed} & await flows.names(connection, tenant_id) if changed else set()
    if taken:
        raise taken_by_flows(taken)
    for spec in changed:
        # The version before it hands on since when the skill is retired.
        retired_at = await connection.fetchval(
            "UPDATE skill SET current = false WHERE tenant_id = $1 AND name = $2 AND current RETURNING retired_at",
            tenant_id,
            spec.name,
        )
        await connection.execute(
            "INSERT INTO skill (tenant_id, name, version, spec, registered_at, retired_at) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, name, version) DO UPDATE SET "
            "spec = excluded.spec, current = true, retired_at = excluded.retired_at",
            tenant_id,
            spec.name,
            spec.version,
            spec_to_json(replace(spec, retired=False)),
            now,
            retired_at,
        )
        await skill_history.add(
            connection, tenant_id, spec.name, "registered", version=spec.version, by=by, now=now,
            spec=replace(spec, retired=False),
        )  # fmt: skip
    if changed:
        await next_registry_revision(connection, tenant_id)
    return [spec.name for spec in changed]


def taken_by_flows(names: Iterable[str]) -> AlreadyTakenError:
    """The error for skills whose *names* flows have."""
    return AlreadyTakenError(
        deferred("there is a flow called %(flows)s; a skill needs a name of its own", flows=", ".join(sorted(names)))
    )


def changed_specs(known: Registry, specs: Iterable[SkillSpec]) -> list[SkillSpec]:
    """Which of *specs*, and of what is built in, are new or differ from the version that is current."""
    return [s for s in (*BUILT_IN, *specs) if s.name not in known or replace(known[s.name], retired=s.retired) != s]


async def retire(
    connection: Connection,
    tenant_id: UUID,
    name: str,
    *,
    now: datetime,
    by: Administrator = SYSTEM,
    reason: str = "",
) -> None:
    """Take a skill out of use; its history stays. Raises NotFoundError for one that is not in use."""
    await lock(connection, tenant_id)
    version = await connection.fetchval(
        "UPDATE skill SET retired_at = $3 WHERE tenant_id = $1 AND name = $2 AND current AND retired_at IS NULL "
        "RETURNING version",
        tenant_id,
        name,
        now,
    )
    if version is None:
        raise NotFoundError(f"no skill {name} is in use")
    await skill_history.add(connection, tenant_id, name, "retired", version=version, by=by, now=now, reason=reason)
    await next_registry_revision(connection, tenant_id)


async def restore(
    connection: Connection,
    tenant_id: UUID,
    name: str,
    *,
    now: datetime,
    by: Administrator = SYSTEM,
    reason: str = "",
) -> None:
    """Put a retired skill back into use. Raises NotFoundError where none of that name is retired."""
    await lock(connection, tenant_id)
    version = await connection.fetchval(
        "UPDATE skill SET retired_at = NULL WHERE tenant_id = $1 AND name = $2 AND current AND retired_at IS NOT NULL "
        "RETURNING version",
        tenant_id,
        name,
    )
    if version is None:
        raise NotFoundError(f"no skill {name} is retired")
    await skill_history.add(connection, tenant_id, name, "restored", version=version, by=by, now=now, reason=reason)
    await next_registry_revision(connection, tenant_id)


async def set_policy(connection: Connection, tenant_id: UUID, policy: Policy) -> None:
    """Store the tenant's policy whole."""
    await connection.execute(
        "UPDATE tenant SET settings = settings || jsonb_build_object('policy', $2::jsonb) WHERE tenant_id = $1",
        tenant_id,
        policy_to_json(policy),
    )


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """Write a policy as JSON."""
    plain = {name: getattr(policy, name) for name in Policy.__dataclass_fields__ if name != "menu"}
    return {
        **plain,
        "menu": [{"skill": item.skill, "titles": dict(item.titles)} for item in policy.menu],
        **{name: part_to_json(plain[name]) for name in _PARTS},
    }


def policy_from_json(value: dict[str, Any]) -> Policy:
    """The policy that :func:`policy_to_json` wrote; what is left out has its default.

    Raises ConfigurationError for a part that cannot be used, TypeError for an unknown field.
    """
    menu = tuple(MenuItem(**item) for item in value.get("menu", ()))
    parts = {name: read(value[name]) for name, read in _PARTS.items() if name in value}
    numbers = {name: float(value[name]) for name in _FRACTIONS if name in value}
    currency = value.get("currency", DEFAULT_CURRENCY)
    if not isinstance(currency, str) or not is_currency(currency):
        raise ConfigurationError(f"currency is {currency!r}; use a code of ISO 4217, such as {DEFAULT_CURRENCY}")
    return Policy(**{**value, "menu": menu, **numbers, **parts})


_FRACTIONS = tuple(name for name, kind in get_type_hints(Policy).items() if kind is float)
"""Fields that may have a fraction, also where one was written without."""


_PARTS: dict[str, Callable[[object], Any]] = {
    "limits": partial(part_from_json, Limits),
    "budget": partial(part_from_json, Budget),
    "confirmation": partial(part_from_json, Confirmation),
    "presence": partial(part_from_json, Presence),
    "routing": routing_from_json,
    "handoff": partial(part_from_json, HandoffRules),
    "classifier": classifier_from_json,
}
