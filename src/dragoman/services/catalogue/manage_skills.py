"""Registers, retires and restores skills, and changes the keys that sign calls of those behind HTTP.

Transactions: one for each change, with its record. Done a second time, a change does nothing and is on no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.nouns import SkillSpec
from dragoman.domain.skill_differences import describe_differences
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.skills.signing import SigningKey, new_key
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import flows, skill_keys, skills
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.database import Connection
from dragoman.translations import deferred

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What registering a manifest came to.

    ``differences`` say what is another way than in the version before it. ``key`` is made for a skill that had none,
    and is shown once.
    """

    name: str
    version: str
    new: bool
    changed: bool
    differences: tuple[str, ...] = ()
    key: SigningKey | None = None


async def register_skills(
    runtime: Runtime, tenant_id: UUID, specs: Sequence[SkillSpec], by: Administrator, *, at: datetime | None = None
) -> list[str]:
    """Bring the registry up to *specs*, since *at* or now; names of the new and changed ones.

    Raises AlreadyTakenError for a name that a flow has.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        return await _register(runtime, connection, tenant_id, specs, by, at)


async def register_manifest(runtime: Runtime, tenant_id: UUID, spec: SkillSpec, by: Administrator) -> Registration:
    """Make the skill behind HTTP in *spec* the current version of its name; one without a key gets its first.

    Raises AlreadyTakenError for a name that a flow has.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        before = (await skills.registry(connection, tenant_id)).get(spec.name)
        changed = spec.name in await _register(runtime, connection, tenant_id, [spec], by, None)
        keyed = spec.name in await skill_keys.list_all(connection, tenant_id)
        key = None if keyed else await _add_key(runtime, connection, tenant_id, spec.name, by)
    return _registration(before, spec, changed=changed, key=key)


async def preview_manifest(runtime: Runtime, tenant_id: UUID, spec: SkillSpec) -> Registration:
    """Say what :func:`register_manifest` would change, and change nothing. Raises what it would raise."""
    async with runtime.database.tenant(tenant_id) as connection:
        known = await skills.registry(connection, tenant_id)
        changed = spec in skills.changed_specs(known, [spec])
        if changed and spec.name in await flows.names(connection, tenant_id):
            raise skills.taken_by_flows({spec.name})
    return _registration(known.get(spec.name), spec, changed=changed, key=None)


async def retire_skill(
    runtime: Runtime, tenant_id: UUID, name: str, by: Administrator, *, reason: str, at: datetime | None = None
) -> bool:
    """Take a skill out of use, since *at* or now; False where it was retired before.

    Raises NotFoundError for one that is not in the registry, and ChangeRefusedError without a reason.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        spec = await _locked(connection, tenant_id, name)
        reason = _checked(reason)
        if not reason:
            raise ChangeRefusedError(deferred("Enter a reason. It is recorded in the history."))
        if spec.retired:
            return False
        now = at or runtime.clock.now()
        await skills.retire(connection, tenant_id, name, now=now, by=by, reason=reason)
        await put_on_record(
            runtime, connection, tenant_id, "skill.retired", name,
            object_kind="skill", by=by, after={"version": spec.version, "reason": reason},
        )  # fmt: skip
    return True


async def restore_skill(runtime: Runtime, tenant_id: UUID, name: str, by: Administrator, *, reason: str = "") -> bool:
    """Put a retired skill back into use; False where it is in use.

    Raises NotFoundError for one that is not in the registry.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        spec = await _locked(connection, tenant_id, name)
        reason = _checked(reason)
        if not spec.retired:
            return False
        await skills.restore(connection, tenant_id, name, now=runtime.clock.now(), by=by, reason=reason)
        await put_on_record(
            runtime, connection, tenant_id, "skill.restored", name,
            object_kind="skill", by=by, after={"version": spec.version, "reason": reason},
        )  # fmt: skip
    return True


async def check_behind_http(runtime: Runtime, tenant_id: UUID, name: str) -> SkillSpec:
    """Return the skill if it is behind HTTP. Raises NotFoundError for one that is not, and for none."""
    async with runtime.database.tenant(tenant_id) as connection:
        spec = (await skills.registry(connection, tenant_id)).get(name)
    if spec is None or spec.http is None:
        raise NotFoundError(f"no skill {name} behind HTTP is in the registry")
    return spec


async def add_key(runtime: Runtime, tenant_id: UUID, name: str, by: Administrator) -> SigningKey:
    """Make a key that signs calls of the skill from now on; it is not shown again.

    Raises NotFoundError, and ConfigurationError for a third key.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        return await _add_key(runtime, connection, tenant_id, name, by)


async def remove_key(runtime: Runtime, tenant_id: UUID, name: str, key_id: str, by: Administrator) -> None:
    """Sign calls of the skill with this key no longer. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        await skill_keys.remove(connection, tenant_id, name, key_id)
        await put_on_record(
            runtime, connection, tenant_id, "skill.key_removed", name,
            object_kind="skill", by=by, before={"key_id": key_id},
        )  # fmt: skip


def _checked(reason: str) -> str:
    reason = reason.strip()
    if len(reason) > LONGEST_REASON:
        raise ChangeRefusedError(deferred("A reason has %(most)s characters at most.", most=LONGEST_REASON))
    return reason


async def _locked(connection: Connection, tenant_id: UUID, name: str) -> SkillSpec:
    # Two who retire at once: the second sees what the first did.
    await tenants.lock(connection, tenant_id)
    spec = (await skills.registry(connection, tenant_id)).get(name)
    if spec is None:
        raise NotFoundError(f"no skill {name} is in the registry")
    return spec


async def _register(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    specs: Sequence[SkillSpec],
    by: Administrator,
    at: datetime | None,
) -> list[str]:
    now = at or runtime.clock.now()
    changed = await skills.register(connection, tenant_id, specs, now=now, by=by)
    versions = {spec.name: spec.version for spec in specs}
    for name in changed:
        await put_on_record(
            runtime, connection, tenant_id, "skill.registered", name,
            object_kind="skill", by=by, after={"version": versions[name]} if name in versions else {},
        )  # fmt: skip
    return changed


async def _add_key(
    runtime: Runtime, connection: Connection, tenant_id: UUID, name: str, by: Administrator
) -> SigningKey:
    made = new_key()
    sealed = SealedKey(
        key_id=made.key_id,
        secret=runtime.keyring.encrypt(made.secret.encode()),
        created_at=runtime.clock.now(),
    )
    await skill_keys.add(connection, tenant_id, name, sealed)
    await put_on_record(
        runtime, connection, tenant_id, "skill.key_added", name,
        object_kind="skill", by=by, after={"key_id": made.key_id},
    )  # fmt: skip
    return made


def _registration(before: SkillSpec | None, spec: SkillSpec, *, changed: bool, key: SigningKey | None) -> Registration:
    return Registration(
        name=spec.name,
        version=spec.version,
        new=before is None,
        changed=changed,
        differences=() if before is None else tuple(describe_differences(before, spec)),
        key=key,
    )
