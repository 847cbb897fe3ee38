"""Group messages that were not understood by likeness, the oldest first, so that the same comes of it every time.

Transactions: one for each batch of messages, under the lock of whoever counts usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from dragoman.classify.likeness import QuestionGroups, features
from dragoman.classify.small_talk import OUT_OF_SCOPE
from dragoman.domain.questions import LikeGroup
from dragoman.runtime import Runtime
from dragoman.store.catalogue import skills
from dragoman.store.insights import counts, questions
from dragoman.store.insights.questions import UngroupedMessage


async def group_questions(runtime: Runtime, tenant_id: UUID) -> int:
    """Put every message that is in no group into one; how many."""
    grouped = 0
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            await counts.lock(connection, tenant_id)
            waiting = await questions.ungrouped(connection, tenant_id)
            if not waiting:
                return grouped
            vocabulary = (await skills.dispatch_rules(connection, tenant_id)).vocabulary
            usual = [phrase.text for spec in vocabulary.values() for phrase in spec.phrases]
            usual += [text for texts in OUT_OF_SCOPE.values() for text in texts]
            known = await questions.groups(connection, tenant_id)
            # It takes the processor for seconds where there is much to group.
            placed = await asyncio.to_thread(_place, runtime, waiting, known, usual)
            await questions.place(connection, tenant_id, placed)
        grouped += len(waiting)


def _place(
    runtime: Runtime, waiting: Sequence[UngroupedMessage], known: Sequence[LikeGroup], usual: Sequence[str]
) -> list[tuple[UngroupedMessage, LikeGroup | None]]:
    groups = QuestionGroups(usual)
    by_id = {group.group_id: group for group in known}
    for group in known:
        groups.add(group)
    placed: list[tuple[UngroupedMessage, LikeGroup | None]] = []
    for message in waiting:
        pieces = features(message.text or "")
        if not pieces:
            placed.append((message, None))
            continue
        group_id = groups.find(pieces)
        if group_id is None:
            group = LikeGroup(runtime.source.new_id(), pieces)
            groups.add(group)
            by_id[group.group_id] = group
            group_id = group.group_id
        placed.append((message, by_id[group_id]))
    return placed
