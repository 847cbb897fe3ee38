"""Keeps the training phrases that administrators add, beside what skills and flows bring along.

A phrase is taught with the next version of the classifier that is put live: ``is_wanted`` says how it shall be,
``is_live`` how it is. What differs in the two waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from dragoman.domain.nouns import Phrase, Registry, SkillSpec
from dragoman.domain.plain_text import fold
from dragoman.domain.questions import OUT_OF_SCOPE
from dragoman.sql import bulk_insert
from dragoman.store.database import Connection
from dragoman.store.tenants import next_registry_revision

LONGEST = 300
MOST_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPhrase:
    """Is a phrase that somebody added. ``session_id`` is where a contact wrote it, None for one of ours."""

    phrase_id: UUID
    intent: str
    text: str
    locale: str
    added_at: datetime
    added_by: str
    session_id: UUID | None = None
    is_wanted: bool = True
    is_live: bool = False

    @property
    def waits(self) -> bool:
        """Say whether the next version of the classifier changes something about it."""
        return self.is_wanted != self.is_live


def on_record(found: Iterable[AddedPhrase]) -> list[str]:
    """Name phrases for the administrators' record: our own by their text, a contact's words by where they stand.

    That record is kept for good, and a contact's words are not to outlive their erasure there.
    """
    return [one.text if one.session_id is None else f"a message of the session {one.session_id}" for one in found]


async def list_all(connection: Connection, tenant_id: UUID, *, intent: str | None = None) -> list[AddedPhrase]:
    """Read the tenant's phrases, or those of one intent, in the order in which they were added."""
    rows = await connection.fetch(
        "SELECT phrase_id, intent, text, locale, added_at, added_by, session_id, is_wanted, is_live "
        "FROM training_phrase WHERE tenant_id = $1 AND ($2::text IS NULL OR intent = $2) ORDER BY added_at, phrase_id",
        tenant_id,
        intent,
    )
    return [AddedPhrase(**row) for row in rows]


_ADD = bulk_insert(
    "training_phrase AS p",
    {
        "phrase_id": "uuid", "intent": "text", "text": "text", "locale": "text", "folded": "text",
        "added_at": "timestamptz", "added_by": "text", "session_id": "uuid",
    },
    # One that was to be taken out is to stay.
    conflict="(tenant_id, intent, folded) DO UPDATE SET is_wanted = true",
    returning="p.phrase_id",
)  # fmt: skip


async def add(connection: Connection, tenant_id: UUID, added: Sequence[AddedPhrase]) -> list[UUID]:
    """Add phrases, for the next version; the ids that they have, where one was there already that of the older one."""
    rows = {
        (one.intent, key_of(one.text)): (
            one.phrase_id, one.intent, one.text, one.locale, key_of(one.text), one.added_at, one.added_by,
            one.session_id,
        )
        for one in added
    }  # fmt: skip
    return [row["phrase_id"] for row in await _ADD.fetch(connection, list(rows.values()), tenant_id)]


def key_of(text: str) -> str:
    """What two spellings of one phrase have in common."""
    return " ".join(fold(text).casefold().split())


async def remove(connection: Connection, tenant_id: UUID, phrase_ids: Iterable[UUID]) -> int:
    """Take phrases out with the next version, those that are not live at once; how many there were."""
    ids = list(phrase_ids)
    status = await connection.execute(
        "UPDATE training_phrase SET is_wanted = false WHERE tenant_id = $1 AND phrase_id = ANY ($2::uuid[])",
        tenant_id,
        ids,
    )
    await connection.execute(
        "DELETE FROM training_phrase WHERE tenant_id = $1 AND phrase_id = ANY ($2::uuid[]) AND NOT is_live",
        tenant_id,
        ids,
    )
    return int(status.split()[-1])


async def put_live(connection: Connection, tenant_id: UUID) -> int:
    """Let the classifier be taught what is wanted from now on; how many phrases changed."""
    changed = 0
    for statement in (
        "DELETE FROM training_phrase WHERE tenant_id = $1 AND NOT is_wanted",
        "UPDATE training_phrase SET is_live = true WHERE tenant_id = $1 AND NOT is_live",
    ):
        changed += int((await connection.execute(statement, tenant_id)).split()[-1])
    if changed:
        await next_registry_revision(connection, tenant_id)
    return changed


def teach(vocabulary: Registry, phrases: Iterable[AddedPhrase]) -> Registry:
    """Add these phrases to *vocabulary*; those of no skill stand under :data:`OUT_OF_SCOPE`.

    A phrase whose skill or flow is gone altogether is left out.
    """
    by_intent: dict[str, list[Phrase]] = {}
    for one in phrases:
        by_intent.setdefault(one.intent, []).append(Phrase(text=one.text, locale=one.locale))
    taught: dict[str, SkillSpec] = dict(vocabulary)
    for intent, added in by_intent.items():
        spec = taught.get(intent) or (_nothing() if intent == OUT_OF_SCOPE else None)
        if spec is not None:
            taught[intent] = replace(spec, phrases=(*spec.phrases, *added))
    return taught if by_intent else vocabulary


def _nothing() -> SkillSpec:
    return SkillSpec(name=OUT_OF_SCOPE, label="What no skill answers", version="", retired=True)


def labels_of(vocabulary: Mapping[str, SkillSpec]) -> dict[str, str]:
    """What there is to teach phrases to: the skills and flows in use, by name, each with its label."""
    return {
        name: spec.label for name, spec in sorted(vocabulary.items(), key=lambda pair: pair[1].label.casefold())
        if not spec.retired and name != OUT_OF_SCOPE
    }  # fmt: skip
