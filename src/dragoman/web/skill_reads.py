"""Reads a skill of the registry for a page or a program; its failures come out of conversations, and are on record."""

from __future__ import annotations

from dragoman.runtime import Runtime
from dragoman.services.catalogue.read_skills import SkillDetail, read_skill
from dragoman.store.conversation_list.conversations import Filters
from dragoman.web import audited_reads
from dragoman.web.auth import Principal
from dragoman.web.http.dependencies import retention_cutoff


async def skill_for(runtime: Runtime, identity: Principal, name: str) -> SkillDetail:
    """Read one skill whole, for *identity*. Raises NotFoundError."""
    kept_since = retention_cutoff(runtime, identity.retention_days)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await read_skill(connection, identity.tenant_id, name, now=runtime.clock.now(), kept_since=kept_since)
        if found.failures:
            await audited_reads.listed(runtime, connection, identity, Filters(skill=(name,)))
    return found
