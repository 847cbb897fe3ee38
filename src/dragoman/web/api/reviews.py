"""The JSON API for reviews shows and takes notes, tags and the reviewed mark of a conversation.

The record stays read-only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from dragoman.domain.errors import NotFoundError
from dragoman.store import reviews
from dragoman.store.conversation_list import conversations
from dragoman.store.database import Connection
from dragoman.store.reviews import Author, UnusableReviewError
from dragoman.web import audited_reads
from dragoman.web.api.conversations import problems_of
from dragoman.web.auth import Principal, require
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Reviewer = Annotated[Principal, Depends(require("communications.reviews:write"))]
ADMIN = "communications.access:admin"

router = APIRouter(prefix="/api/v1/conversations/{session_id}/review", tags=["reviews"])


class NoteResource(BaseModel):
    """A reviewer's note; one that was deleted has no body any more, and says who deleted it."""

    note_id: UUID
    author: str
    body: str | None
    written_at: datetime
    deleted_by: str | None
    deleted_at: datetime | None


class TagResource(BaseModel):
    """Describes a tag on a conversation."""

    tag: str
    added_by: str
    added_at: datetime


class MarkResource(BaseModel):
    """Who has reviewed a conversation, and when."""

    by: str
    at: datetime


class ReviewResource(BaseModel):
    """Holds all that reviewers left on one conversation."""

    reviewed: MarkResource | None
    tags: list[TagResource]
    notes: list[NoteResource]


class NewNote(BaseModel):
    """Brings a note to be written."""

    model_config = ConfigDict(extra="forbid")

    body: str = Field(
        min_length=1, max_length=reviews.LONGEST_NOTE, json_schema_extra={"pattern": reviews.NOTE_PATTERN}
    )


TagName = Annotated[
    str,
    Path(
        max_length=200,
        description="Letters, digits, spaces and . : / + - _, starting with a letter or digit",
        json_schema_extra={"pattern": reviews.TAG_PATTERN},
    ),
]


@router.get("", responses=problems_of(401, 403, 404, 422))
async def show_review(session_id: UUID, identity: Reader, runtime: RuntimeDependency) -> ReviewResource:
    """Show what reviewers left on the conversation."""
    async with _conversation(runtime, identity, session_id) as connection:
        found = identity.visibility.review(await reviews.load(connection, identity.tenant_id, session_id))
    return ReviewResource(
        reviewed=found.reviewed and MarkResource(by=found.reviewed.by, at=found.reviewed.at),
        tags=[TagResource(tag=tag.name, added_by=tag.added_by, added_at=tag.added_at) for tag in found.tags],
        notes=[
            NoteResource(
                note_id=note.note_id,
                author=note.author.name,
                body=note.body,
                written_at=note.written_at,
                deleted_by=note.deleted_by,
                deleted_at=note.deleted_at,
            )
            for note in found.notes
        ],
    )


@router.post("/notes", status_code=201, responses=problems_of(400, 401, 403, 404, 422))
async def write_note(
    session_id: UUID, note: NewNote, identity: Reviewer, runtime: RuntimeDependency
) -> dict[str, UUID]:
    """Write a note; answers with its id."""
    note_id = runtime.source.new_id()
    author = Author(user_id=identity.user_id, name=identity.name)
    async with _conversation(runtime, identity, session_id) as connection:
        try:
            await reviews.write_note(
                connection,
                identity.tenant_id,
                session_id,
                note.body,
                author,
                note_id=note_id,
                now=runtime.clock.now(),
            )
        except UnusableReviewError as error:
            raise InvalidParameterError("body", str(error)) from error
    return {"note_id": note_id}


@router.delete("/notes/{note_id}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def delete_note(session_id: UUID, note_id: UUID, identity: Reviewer, runtime: RuntimeDependency) -> None:
    """Delete an own note; administrators may delete any. A mark of it stays."""
    async with _conversation(runtime, identity, session_id) as connection:
        deleted = await reviews.delete_note(
            connection,
            identity.tenant_id,
            session_id,
            note_id,
            Author(user_id=identity.user_id, name=identity.name),
            of_anybody=identity.may(ADMIN),
            now=runtime.clock.now(),
        )
    if not deleted:
        raise NotFoundError("You have no such note.")


@router.put("/tags/{tag:path}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def add_tag(session_id: UUID, tag: TagName, identity: Reviewer, runtime: RuntimeDependency) -> None:
    """Put a tag on the conversation."""
    async with _conversation(runtime, identity, session_id) as connection:
        try:
            await reviews.add_tag(
                connection, identity.tenant_id, session_id, tag, identity.name, now=runtime.clock.now()
            )
        except UnusableReviewError as error:
            raise InvalidParameterError("tag", str(error)) from error


@router.delete("/tags/{tag:path}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def remove_tag(session_id: UUID, tag: TagName, identity: Reviewer, runtime: RuntimeDependency) -> None:
    """Take a tag off the conversation, where it is on it."""
    try:
        name = reviews.tag_of(tag)
    except UnusableReviewError as error:
        raise InvalidParameterError("tag", str(error)) from error
    async with _conversation(runtime, identity, session_id) as connection:
        await reviews.remove_tag(connection, identity.tenant_id, session_id, name)


@router.put("/reviewed", status_code=204, responses=problems_of(401, 403, 404, 422))
async def mark_reviewed(session_id: UUID, identity: Reviewer, runtime: RuntimeDependency) -> None:
    """Mark the conversation as reviewed; who said so first stands."""
    async with _conversation(runtime, identity, session_id) as connection:
        await reviews.mark(connection, identity.tenant_id, session_id, identity.name, now=runtime.clock.now())


@router.delete("/reviewed", status_code=204, responses=problems_of(401, 403, 404, 422))
async def unmark_reviewed(session_id: UUID, identity: Reviewer, runtime: RuntimeDependency) -> None:
    """Take the mark off again."""
    async with _conversation(runtime, identity, session_id) as connection:
        await reviews.unmark(connection, identity.tenant_id, session_id)


@asynccontextmanager
async def _conversation(runtime: RuntimeDependency, identity: Principal, session_id: UUID) -> AsyncIterator[Connection]:
    """A transaction of the tenant, once it is known that the conversation is one of its own."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await conversations.get(connection, identity.tenant_id, session_id)
        if found is None:
            raise NotFoundError(f"There is no conversation {session_id}.")
        await audited_reads.opened(runtime, connection, identity, found)
        yield connection
