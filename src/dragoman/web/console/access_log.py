"""The Access Log: who read what, and what administrators did, for auditors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from dragoman.domain.plain_text import cut
from dragoman.domain.text_values import without_nul
from dragoman.services.visibility import Visibility
from dragoman.store.accounts import access_log
from dragoman.store.accounts.access_log import AccessEntry, AccessFilters, AccessPage, Kind
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, Filters, MalformedCursorError, TooSlowError
from dragoman.web import audited_reads
from dragoman.web.console.filter_times import RecordQuery
from dragoman.web.console.filter_words import NAMES, said
from dragoman.web.console.formatting import Times
from dragoman.web.console.page import render, times_of
from dragoman.web.http.dependencies import RuntimeDependency

ADDRESS = "/access-log"
PAGE_SIZE = 50
LONGEST_VALUE = 160

KINDS: dict[str, str] = {"": "All", "read": "Reads", "change": "Changes"}

ACTIONS = {
    audited_reads.LISTED: "Viewed the conversation list",
    audited_reads.OPENED: "Opened a conversation",
    audited_reads.FETCHED_AHEAD: "Loaded a conversation in advance",
    audited_reads.FILE_OPENED: "Opened a file",
    audited_reads.RAW_OPENED: "Opened the raw channel data",
    audited_reads.LOG_READ: "Read the access log",
    audited_reads.DELIVERIES_LISTED: "Viewed deliveries",
    audited_reads.DELIVERY_OPENED: "Opened a delivery",
    audited_reads.QUESTIONS_LISTED: "Viewed unanswered questions",
    audited_reads.OUTBOX_LISTED: "Viewed the outbox",
    audited_reads.ENTRY_OPENED: "Opened an outbox entry",
    "outbox.cancel": "Cancelled an outbox entry",
    "outbox.exported": "Exported the outbox",
    "outbox.resend": "Resent an outbox entry",
    "outbox.retry": "Retried an outbox entry",
    "agent.changed": "Changed an agent’s assignment rules",
    "bundle.made": "Created an evidence bundle",
    "canned_reply.added": "Added a canned reply",
    "canned_reply.changed": "Changed a canned reply",
    "canned_reply.deleted": "Deleted a canned reply",
    "channel.added": "Added a channel",
    "channel.changed": "Changed a channel",
    "channel.resumed": "Resumed a channel",
    "channel.templates_fetched": "Fetched a channel's templates",
    "channel.tried": "Tried an unreachable channel",
    "classifier.put_live": "Published a classifier version",
    "classifier.key_added": "Set the key of the language model",
    "classifier.key_removed": "Removed the key of the language model",
    "contact.erased": "Erased a contact",
    "contacts.merged": "Merged contacts with the same number",
    "export.cancelled": "Cancelled an export",
    "export.deleted": "Deleted an export",
    "export.downloaded": "Downloaded an export",
    "export.made": "Created an export",
    "export.requested": "Requested an export",
    "export.streamed": "Exported conversations",
    "flow.imported": "Imported a flow",
    "flow.restored": "Restored a flow",
    "flow.retired": "Retired a flow",
    "phrases.added": "Added training phrases",
    "phrases.removed": "Removed training phrases",
    "question.reopened": "Reopened an unanswered question",
    "hold.lifted": "Lifted a legal hold",
    "hold.put": "Put a session on legal hold",
    "job.dismissed": "Dismissed a failed job",
    "job.retried": "Retried a failed job",
    "mail_template.retired": "Retired an email template",
    "mail_template.saved": "Saved an email template",
    "menu.imported": "Imported a menu",
    "policy.changed": "Changed the policy",
    "redaction.changed": "Changed redaction rules",
    "retention.changed": "Changed the retention period",
    "role.changed": "Changed a role",
    "role.created": "Created a role",
    "role.deleted": "Deleted a role",
    "session.ended": "Ended a session",
    "session.released": "Released a session",
    "skill.key_added": "Added a skill's key",
    "skill.key_removed": "Removed a skill's key",
    "skill.registered": "Registered a skill",
    "skill.restored": "Restored a skill",
    "skill.retired": "Retired a skill",
    "skill.tried": "Ran a test call of a skill",
    "tenant.created": "Created the tenant",
    "token.created": "Created an API token",
    "trigger.added": "Created a trigger",
    "trigger.changed": "Changed a trigger",
    "trigger.deleted": "Deleted a trigger",
    "token.revoked": "Revoked an API token",
    "tenant.single_sign_on": "Changed single sign-on",
    "tenant.second_factor": "Changed who needs a second factor",
    "user.changed": "Changed a user's role",
    "user.created": "Added a user",
    "user.disabled": "Deactivated a user",
    "user.enabled": "Reactivated a user",
    "user.password_reset_by_mail": "Reset their password by email",
    "user.recovery_code_used": "Signed in with a recovery code",
    "user.recovery_codes_renewed": "Created new recovery codes",
    "user.second_factor_added": "Set up a second factor",
    "user.second_factor_removed": "Removed a second factor",
    "user.password_changed": "Changed their password",
    "user.password_reset": "Reset a user’s password",
}
"""What each action is called; one that is not here is shown by its own name."""

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@dataclass(frozen=True, slots=True)
class _AccessQuery(RecordQuery):
    NAMES: ClassVar[tuple[str, ...]] = ("kind", "actor", "session", "phone", "from", "to")
    TAB: ClassVar[str] = "kind"
    PAGE: ClassVar[str] = ADDRESS

    def filters(self) -> AccessFilters:
        """The same for the store. Raises ValueError with what to do."""
        kind = self.choice("kind", "Kind", _KINDS)
        since, until = self.bounds()
        try:
            session_id = UUID(self["session"]) if self["session"] else None
        except ValueError:
            raise ValueError("Session: enter a conversation’s ID.") from None
        return AccessFilters(
            kind=_KINDS.get(kind),
            actor=without_nul(self["actor"]) or None,
            session_id=session_id,
            phone=without_nul(self["phone"]) or None,
            since=since,
            until=until,
        )


_KINDS: dict[str, Kind] = {"read": "read", "change": "change"}


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry as the page shows it; ``facts`` are what was asked for, or what a change left in place of what."""

    entry: AccessEntry
    label: str
    facts: list[tuple[str, str, str]]
    conversation: Conversation | None


@router.get(ADDRESS)
async def listed(request: Request, runtime: RuntimeDependency, identity: audited_reads.Auditor) -> Response:
    """Show the list."""
    query = _AccessQuery.read(request)
    audited_reads.check_phone(identity, query["phone"])
    page, mistake = AccessPage([], None), ""
    found: dict[UUID, Conversation] = {}
    cursor = request.query_params.get("cursor") or None
    async with runtime.database.tenant(identity.tenant_id) as connection:
        people = await access_log.actors(connection, identity.tenant_id)
        try:
            page = await access_log.page(
                connection, identity.tenant_id, query.filters(), cursor=cursor, limit=PAGE_SIZE
            )
            ids = {entry.session_id for entry in page.items if entry.session_id is not None}
            shown = await conversations.among(connection, identity.tenant_id, Filters(), list(ids)) if ids else []
            masks = await identity.visibility.masks(connection, identity.tenant_id, [one.contact_id for one in shown])
            found = {one.session_id: identity.visibility.conversation(one, masks) for one in shown}
            await audited_reads.log_read(runtime, connection, identity, query.asked())
        except MalformedCursorError:
            mistake = "This page of the list no longer exists. Start again from the newest."
        except TooSlowError:
            mistake = "The search took too long. Narrow it down, for example by date."
        except ValueError as error:
            mistake = str(error)
    times = times_of(request)
    return render(
        request,
        "access_log.html",
        status_code=422 if mistake else 200,
        query=query,
        kinds=KINDS,
        people=people,
        mistake=mistake,
        rows=[_row(entry, identity.visibility, found, times) for entry in page.items],
        next_cursor=page.next_cursor,
        cursor=cursor,
    )


def _row(entry: AccessEntry, visibility: Visibility, found: Mapping[UUID, Conversation], times: Times) -> _Row:
    return _Row(
        dataclasses.replace(entry, object_id=visibility.object_id(entry.object_id)),
        ACTIONS.get(entry.action, entry.action),
        _facts(visibility.record(entry.before), visibility.record(entry.after), times),
        found.get(entry.session_id) if entry.session_id is not None else None,
    )


def _facts(before: Mapping[str, Any], after: Mapping[str, Any], times: Times) -> list[tuple[str, str, str]]:
    """Name, old value, new value of what is different; the old is empty where there was none."""
    names = dict.fromkeys([*before, *after])
    return [
        (
            NAMES.get(name, name.replace("_", " ").capitalize()),
            _text(name, before.get(name), times),
            _text(name, after.get(name), times),
        )
        for name in names
        if before.get(name) != after.get(name)
    ]


def _text(name: str, value: Any, times: Times) -> str:
    if value is None:
        return ""
    is_filter = isinstance(value, str) or (name in NAMES and isinstance(value, list))
    text = said(name, value, times) if is_filter else json.dumps(value, ensure_ascii=False)
    return cut(text, LONGEST_VALUE, mark="…")
