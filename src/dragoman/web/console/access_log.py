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
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web import audited_reads
from dragoman.web.console.filter_times import RecordQuery
from dragoman.web.console.filter_words import NAMES, describe_filter
from dragoman.web.console.formatting import Times
from dragoman.web.console.page import render, said, times_of
from dragoman.web.http.dependencies import RuntimeDependency

ADDRESS = "/access-log"
PAGE_SIZE = 50
LONGEST_VALUE = 160

KINDS: dict[str, str] = {"": deferred("All"), "read": deferred("Reads"), "change": deferred("Changes")}

ACTIONS = {
    audited_reads.LISTED: deferred("Viewed the conversation list"),
    audited_reads.OPENED: deferred("Opened a conversation"),
    audited_reads.FETCHED_AHEAD: deferred("Loaded a conversation in advance"),
    audited_reads.FILE_OPENED: deferred("Opened a file"),
    audited_reads.RAW_OPENED: deferred("Opened the raw channel data"),
    audited_reads.LOG_READ: deferred("Read the access log"),
    audited_reads.DELIVERIES_LISTED: deferred("Viewed deliveries"),
    audited_reads.DELIVERY_OPENED: deferred("Opened a delivery"),
    audited_reads.QUESTIONS_LISTED: deferred("Viewed unanswered questions"),
    audited_reads.OUTBOX_LISTED: deferred("Viewed the outbox"),
    audited_reads.ENTRY_OPENED: deferred("Opened an outbox entry"),
    "outbox.cancel": deferred("Cancelled an outbox entry"),
    "outbox.exported": deferred("Exported the outbox"),
    "outbox.resend": deferred("Resent an outbox entry"),
    "outbox.retry": deferred("Retried an outbox entry"),
    "agent.changed": deferred("Changed an agent’s assignment rules"),
    "bundle.made": deferred("Created an evidence bundle"),
    "canned_reply.added": deferred("Added a canned reply"),
    "canned_reply.changed": deferred("Changed a canned reply"),
    "canned_reply.deleted": deferred("Deleted a canned reply"),
    "channel.added": deferred("Added a channel"),
    "channel.changed": deferred("Changed a channel"),
    "channel.resumed": deferred("Resumed a channel"),
    "channel.templates_fetched": deferred("Fetched a channel’s templates"),
    "channel.tried": deferred("Tried an unreachable channel"),
    "classifier.put_live": deferred("Published a classifier version"),
    "classifier.key_added": deferred("Set the key of the language model"),
    "classifier.key_removed": deferred("Removed the key of the language model"),
    "contact.erased": deferred("Erased a contact"),
    "contacts.merged": deferred("Merged contacts with the same number"),
    "export.cancelled": deferred("Cancelled an export"),
    "export.deleted": deferred("Deleted an export"),
    "export.downloaded": deferred("Downloaded an export"),
    "export.made": deferred("Created an export"),
    "export.requested": deferred("Requested an export"),
    "export.streamed": deferred("Exported conversations"),
    "flow.imported": deferred("Imported a flow"),
    "flow.restored": deferred("Restored a flow"),
    "flow.retired": deferred("Retired a flow"),
    "phrases.added": deferred("Added training phrases"),
    "phrases.removed": deferred("Removed training phrases"),
    "question.reopened": deferred("Reopened an unanswered question"),
    "hold.lifted": deferred("Lifted a legal hold"),
    "hold.put": deferred("Put a session on legal hold"),
    "job.dismissed": deferred("Dismissed a failed job"),
    "job.retried": deferred("Retried a failed job"),
    "mail_template.retired": deferred("Retired an email template"),
    "mail_template.saved": deferred("Saved an email template"),
    "menu.imported": deferred("Imported a menu"),
    "policy.changed": deferred("Changed the policy"),
    "redaction.changed": deferred("Changed redaction rules"),
    "retention.changed": deferred("Changed the retention period"),
    "role.changed": deferred("Changed a role"),
    "role.created": deferred("Created a role"),
    "role.deleted": deferred("Deleted a role"),
    "session.ended": deferred("Ended a session"),
    "session.released": deferred("Released a session"),
    "skill.key_added": deferred("Added a skill’s key"),
    "skill.key_removed": deferred("Removed a skill’s key"),
    "skill.registered": deferred("Registered a skill"),
    "skill.restored": deferred("Restored a skill"),
    "skill.retired": deferred("Retired a skill"),
    "skill.tried": deferred("Ran a test call of a skill"),
    "tenant.created": deferred("Created the tenant"),
    "token.created": deferred("Created an API token"),
    "trigger.added": deferred("Created a trigger"),
    "trigger.changed": deferred("Changed a trigger"),
    "trigger.deleted": deferred("Deleted a trigger"),
    "token.revoked": deferred("Revoked an API token"),
    "tenant.single_sign_on": deferred("Changed single sign-on"),
    "tenant.second_factor": deferred("Changed who needs a second factor"),
    "user.changed": deferred("Changed a user’s role"),
    "user.created": deferred("Added a user"),
    "user.disabled": deferred("Deactivated a user"),
    "user.enabled": deferred("Reactivated a user"),
    "user.password_reset_by_mail": deferred("Reset their password by email"),
    "user.recovery_code_used": deferred("Signed in with a recovery code"),
    "user.recovery_codes_renewed": deferred("Created new recovery codes"),
    "user.second_factor_added": deferred("Set up a second factor"),
    "user.second_factor_removed": deferred("Removed a second factor"),
    "user.password_changed": deferred("Changed their password"),
    "user.password_reset": deferred("Reset a user’s password"),
}
"""What each action is called; one that is not here is shown by its own name."""

_OBJECTS = {
    "agent": deferred("agent"),
    "bundle": deferred("bundle"),
    "canned_reply": deferred("canned reply"),
    "channel_account": deferred("channel account"),
    "classifier": deferred("classifier"),
    "contact": deferred("contact"),
    "export": deferred("export"),
    "flow": deferred("flow"),
    "job": deferred("job"),
    "mail_template": deferred("email template"),
    "menu": deferred("menu"),
    "outbox_entry": deferred("outbox entry"),
    "policy": deferred("policy"),
    "question": deferred("question"),
    "role": deferred("role"),
    "session": deferred("session"),
    "skill": deferred("skill"),
    "tenant": deferred("tenant"),
    "token": deferred("token"),
    "trigger": deferred("trigger"),
    "user": deferred("user"),
}
"""What an administrator changed, by its kind; one that is not here is shown by its own name."""

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@dataclass(frozen=True, slots=True)
class _AccessQuery(RecordQuery):
    NAMES: ClassVar[tuple[str, ...]] = ("kind", "actor", "session", "phone", "from", "to")
    TAB: ClassVar[str] = "kind"
    PAGE: ClassVar[str] = ADDRESS

    def filters(self) -> AccessFilters:
        """The same for the store. Raises ValueError with what to do."""
        kind = self.choice("kind", deferred("Kind"), _KINDS)
        since, until = self.bounds()
        try:
            session_id = UUID(self["session"]) if self["session"] else None
        except ValueError:
            raise ValueError(deferred("Session: enter a conversation’s ID.")) from None
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
    object: str
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
            mistake = _("This page of the list no longer exists. Start again from the newest.")
        except TooSlowError:
            mistake = _("The search took too long. Narrow it down, for example by date.")
        except ValueError as error:
            mistake = said(error)
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
        _OBJECTS.get(entry.object_kind, entry.object_kind.replace("_", " ")),
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
    text = describe_filter(name, value, times) if is_filter else json.dumps(value, ensure_ascii=False)
    return cut(text, LONGEST_VALUE, mark="…")
