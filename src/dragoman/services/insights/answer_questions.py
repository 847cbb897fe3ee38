"""Decide on questions that nobody answers: they become training phrases, or what no skill is meant to answer.

Transactions: one for each decision, with its record. Phrases are taught with the next version of the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.questions import OUT_OF_SCOPE
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import phrases, skills
from dragoman.store.catalogue.phrases import LONGEST, MOST_AT_ONCE, AddedPhrase
from dragoman.store.database import Connection
from dragoman.store.insights import questions
from dragoman.translations import deferred


async def add_phrases(
    runtime: Runtime,
    tenant_id: UUID,
    by: Administrator,
    intent: str,
    lines: Sequence[str],
    *,
    locale: str,
    group_id: UUID | None = None,
) -> int:
    """Add phrases, one in each line, to a skill or flow, or to what no skill answers; how many.

    With *group_id* they answer that question: the ones that are a contact's own words are kept as theirs.

    Raises NotFoundError for a question that is not there, ChangeRefusedError with what to do.
    """
    texts = [text for line in lines if (text := " ".join(line.split()))]
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        await _check(connection, tenant_id, intent, texts)
        written: dict[str, questions.QuestionExample] = {}
        if group_id is not None:
            await _decide(runtime, connection, tenant_id, group_id, intent, by)
            written = await questions.writers(connection, tenant_id, group_id)
        now = runtime.clock.now()
        added = [
            AddedPhrase(
                phrase_id=runtime.source.new_id(), intent=intent, text=text, added_at=now, added_by=by.name,
                locale=written[text].locale if text in written else locale,
                session_id=written[text].session_id if text in written else None,
            )
            for text in texts
        ]  # fmt: skip
        ids = await phrases.add(connection, tenant_id, added)
        await put_on_record(
            runtime, connection, tenant_id, "phrases.added", intent, object_kind="skill", by=by,
            after={"phrases": phrases.on_record(added)},
        )  # fmt: skip
    return len(ids)


async def _check(connection: Connection, tenant_id: UUID, intent: str, texts: Sequence[str]) -> None:
    if not texts:
        raise ChangeRefusedError(deferred("Enter at least one phrase."))
    if len(texts) > MOST_AT_ONCE:
        raise ChangeRefusedError(deferred("Add at most %(most)s phrases at once.", most=MOST_AT_ONCE))
    if any(len(text) > LONGEST for text in texts):
        raise ChangeRefusedError(
            deferred("Phrases can have up to %(most)s characters. Shorten it to the essential words.", most=LONGEST)
        )
    if any("\0" in text for text in texts):
        raise ChangeRefusedError(deferred("Phrases cannot contain the character U+0000."))
    if intent == OUT_OF_SCOPE:
        return
    vocabulary = (await skills.dispatch_rules(connection, tenant_id)).vocabulary
    if intent not in phrases.labels_of(vocabulary):
        raise ChangeRefusedError(deferred("Choose a skill or flow that is in use."))


async def _decide(
    runtime: Runtime, connection: Connection, tenant_id: UUID, group_id: UUID, intent: str, by: Administrator
) -> None:
    question = await questions.lock_decision(connection, tenant_id, group_id)
    if question is None:
        raise NotFoundError("This question no longer exists.")
    if question.decision is not None:
        raise ChangeRefusedError(
            deferred("%(decided_by)s has already handled this question.", decided_by=question.decided_by)
        )
    nothing = intent == OUT_OF_SCOPE
    await questions.decide(
        connection, tenant_id, group_id, decision="out_of_scope" if nothing else "phrase",
        intent=None if nothing else intent, by=by.name, now=runtime.clock.now(),
    )  # fmt: skip


async def reopen_question(runtime: Runtime, tenant_id: UUID, by: Administrator, group_id: UUID) -> None:
    """Put a question back among the open ones; the phrases that were added stay. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        question = await questions.lock_decision(connection, tenant_id, group_id)
        if question is None:
            raise NotFoundError("This question no longer exists.")
        if question.decision is None:
            return
        await questions.decide(
            connection, tenant_id, group_id, decision=None, intent=None, by="", now=runtime.clock.now()
        )
        await put_on_record(
            runtime, connection, tenant_id, "question.reopened", group_id, object_kind="question", by=by,
            before={"decision": question.decision, "intent": question.intent},
        )  # fmt: skip


async def remove_phrases(runtime: Runtime, tenant_id: UUID, by: Administrator, phrase_ids: Sequence[UUID]) -> int:
    """Take added phrases out with the next version of the classifier; how many there were."""
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        known = {one.phrase_id: one for one in await phrases.list_all(connection, tenant_id)}
        removed = [known[phrase_id] for phrase_id in phrase_ids if phrase_id in known]
        await phrases.remove(connection, tenant_id, [one.phrase_id for one in removed])
        for intent in sorted({one.intent for one in removed}):
            await put_on_record(
                runtime, connection, tenant_id, "phrases.removed", intent, object_kind="skill", by=by,
                before={"phrases": phrases.on_record(one for one in removed if one.intent == intent)},
            )  # fmt: skip
    return len(removed)
