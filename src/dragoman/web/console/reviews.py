"""Notes, tags and the reviewed mark of one conversation: forms of the drawer, each answered by the panel anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.store import reviews
from dragoman.store.database import Connection
from dragoman.store.reviews import Author, UnusableReviewError
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, require
from dragoman.web.console import fragments
from dragoman.web.console.page import render, said, target_of
from dragoman.web.console.query import ADDRESS
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Reviewer = Annotated[Principal, Depends(require("communications.reviews:write"))]
ADMIN = "communications.access:admin"

Text = Annotated[str, Form()]


@router.post(f"{ADDRESS}/{{session_id}}/notes")
async def write(
    request: Request, runtime: RuntimeDependency, identity: Reviewer, session_id: str, body: Text = ""
) -> Response:
    """Write a note."""

    async def do(connection: Connection, session: UUID) -> None:
        await reviews.write_note(
            connection,
            identity.tenant_id,
            session,
            body,
            author(identity),
            note_id=runtime.source.new_id(),
            now=runtime.clock.now(),
        )

    return await _answer(request, runtime, identity, session_id, do, _("Note added"))


@router.post(f"{ADDRESS}/{{session_id}}/notes/{{note_id}}/delete")
async def delete(
    request: Request, runtime: RuntimeDependency, identity: Reviewer, session_id: str, note_id: UUID
) -> Response:
    """Delete an own note; an administrator may delete any."""

    async def do(connection: Connection, session: UUID) -> None:
        if not await reviews.delete_note(
            connection,
            identity.tenant_id,
            session,
            note_id,
            author(identity),
            of_anybody=identity.may(ADMIN),
            now=runtime.clock.now(),
        ):
            raise HTTPException(404, _("You have no such note."))

    return await _answer(request, runtime, identity, session_id, do, _("Note deleted"))


@router.post(f"{ADDRESS}/{{session_id}}/tags")
async def tag(
    request: Request, runtime: RuntimeDependency, identity: Reviewer, session_id: str, add: Text = "", remove: Text = ""
) -> Response:
    """Put a tag on the conversation, or take one off."""

    async def do(connection: Connection, session: UUID) -> None:
        if remove:
            await reviews.remove_tag(connection, identity.tenant_id, session, remove)
        else:
            await reviews.add_tag(connection, identity.tenant_id, session, add, identity.name, now=runtime.clock.now())

    done = _("Tag removed") if remove else _("Tag added")
    return await _answer(request, runtime, identity, session_id, do, done)


@router.post(f"{ADDRESS}/{{session_id}}/reviewed")
async def reviewed(
    request: Request, runtime: RuntimeDependency, identity: Reviewer, session_id: str, mark: Text = "yes"
) -> Response:
    """Mark the conversation as reviewed, or take the mark back."""

    async def do(connection: Connection, session: UUID) -> None:
        if mark == "yes":
            await reviews.mark(connection, identity.tenant_id, session, identity.name, now=runtime.clock.now())
        else:
            await reviews.unmark(connection, identity.tenant_id, session)

    done = _("Marked as reviewed") if mark == "yes" else _("No longer marked as reviewed")
    return await _answer(request, runtime, identity, session_id, do, done)


async def context(connection: Connection, identity: Principal, session_id: UUID) -> dict[str, Any]:
    """Build the context of ``logs/_review.html``."""
    return {
        "review": identity.visibility.review(await reviews.load(connection, identity.tenant_id, session_id)),
        "known_tags": identity.visibility.tags(await reviews.known_tags(connection, identity.tenant_id)),
        "review_said": "",
        "review_mistake": "",
    }


def author(identity: Principal) -> Author:
    """Name the identity as the writer of notes."""
    return Author(user_id=identity.user_id, name=identity.name)


async def _answer(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    session_id: str,
    do: Callable[[Connection, UUID], Awaitable[None]],
    done: str,
) -> Response:
    """Do it and show the panel, or the page where the browser sent a plain form."""
    mistake = ""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await fragments.find(connection, identity.tenant_id, session_id)
        try:
            await do(connection, found.session_id)
        except UnusableReviewError as error:
            mistake = said(error)
        shown = await context(connection, identity, found.session_id)
    if target_of(request) != "review":
        if mistake:
            raise HTTPException(422, mistake)
        return RedirectResponse(f"{ADDRESS}/{found.session_id}", 303)
    shown |= {"review_said": mistake or done, "review_mistake": mistake}
    return render(request, "logs/_review.html", status_code=422 if mistake else 200, active=found, **shown)
