"""Tries the next version of the classifier for a reader: what contacts wrote is masked as for them, and on record."""

from __future__ import annotations

import dataclasses

from dragoman.runtime import Runtime
from dragoman.services.catalogue.train_classifier import TRIED_DAYS, ChangedReading, Trial, try_next_version
from dragoman.web import audited_reads
from dragoman.web.auth import Principal


async def trial_for(runtime: Runtime, identity: Principal, *, days: int = TRIED_DAYS) -> Trial:
    """Read the messages of the last *days* with both versions; what changed, as *identity* may see it."""
    trial = await try_next_version(runtime, identity.tenant_id, days=days)
    seen = identity.visibility
    async with runtime.database.tenant(identity.tenant_id) as connection:
        asked = {"version": trial.next_version, "days": str(days), "at": runtime.clock.now().date().isoformat()}
        await audited_reads.questions_listed(runtime, connection, identity, asked)
        contacts = [one.message.contact_id for one in trial.changed]
        masks = await seen.masks(connection, identity.tenant_id, contacts)

    def masked(one: ChangedReading) -> ChangedReading:
        text = seen.written(one.message.contact_id, one.message.text, masks)
        return dataclasses.replace(one, message=dataclasses.replace(one.message, text=text))

    return dataclasses.replace(trial, changed=tuple(map(masked, trial.changed)))
