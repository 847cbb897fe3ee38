"""Shows the Email tab of the logs: the list of what was sent, an entry in its drawer, and what is done with entries.

One address serves the page and its fragments: ``#outbox`` and ``#drawer`` are asked for by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, get_args
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import NotFoundError
from dragoman.domain.outbox_status import EntryAction, OutboxStatus
from dragoman.domain.text_values import choice_refusal, without_nul
from dragoman.runtime import Runtime
from dragoman.services.exports.export_outbox import OutboxFormat
from dragoman.services.outbound.manage_entries import ActionResult, act
from dragoman.store.conversation_list.conversations import MalformedCursorError, TooSlowError
from dragoman.store.sending import outbox_list
from dragoman.store.sending.outbox_list import EntryDetail, ListedEntry, OutboxFilters, OutboxPage, OutboxSort
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console import wording
from dragoman.web.console.filter_times import RecordQuery
from dragoman.web.console.page import render, said, target_of, times_of
from dragoman.web.console.query import ADDRESS as LOGS
from dragoman.web.downloads import Exporter, download_outbox
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.middleware import CONTENT_SECURITY_POLICY
from dragoman.web.outbox_reads import (
    CHANNELS,
    LONGEST_RECIPIENT,
    filters_for,
    read_entry,
    read_page,
    read_some,
)

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = f"{LOGS}/email"
PAGE_SIZE = 50
MOST_WATCHED = 2 * PAGE_SIZE
"""How many entries a page asks for again: those that it shows, and some that were pushed out of it."""
LONGEST_ANSWER = 1000

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Writer = Annotated[Principal, Depends(require("communications.access:write"))]

WITH_FRAMES = {"Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"}
"""The policy of a page that shows a mail in a frame; no other page may have frames."""

MESSAGE_HEADERS = {
    # Whatever is in the mail runs no script, fetches nothing, sends no form and leads nowhere.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'; sandbox"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

# A link would open a window of its own, which a sandboxed frame cannot: a click leads nowhere. Mail is made for white.
_BEFORE_MESSAGE = (
    '<!doctype html><meta charset="utf-8"><base target="_blank">'
    "<style>:root{color-scheme:light;background:#fff;color:#16191f;font-family:system-ui,sans-serif}</style>"
)

NOTHING_TICKED = deferred("No entries are selected.")


@dataclass(frozen=True, slots=True)
class OutboxListQuery(RecordQuery):
    """Holds the filters of the Email tab, the order and the place in the list, as they stand in its address.

    The tab has an address of its own for each of these: none of the other tab's filters is carried along.
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        *("status", "trigger", "channel", "recipient", "from", "to", "session", "sort", "cursor"),
    )
    PAGE: ClassVar[str] = LOGS

    @classmethod
    def read(cls, request: Request) -> Self:
        """Take them from the address, where several statuses may stand in one value or in several."""
        asked = request.query_params
        given = {name: asked.get(name, "").strip()[: LONGEST_RECIPIENT + 1] for name in cls.NAMES}
        statuses = [one.strip() for each in asked.getlist("status") for one in each.split(",")]
        given["status"] = ",".join(dict.fromkeys(filter(None, statuses)))
        if given["sort"] == OutboxSort.NEWEST:
            given["sort"] = ""
        return cls(given, times_of(request).zone)

    @property
    def statuses(self) -> list[str]:
        """The statuses that are asked for, whether or not there are such."""
        return [one for one in self["status"].split(",") if one]

    @property
    def set_filters(self) -> list[str]:
        """The names of the filters that are given."""
        return [name for name in self.NAMES if self[name] and name not in {"sort", "cursor"}]

    @property
    def narrowed(self) -> bool:
        """Whether any filter is given."""
        return bool(self.set_filters)

    @property
    def sort(self) -> OutboxSort:
        """Is the order of the list. Raises ValueError with what to do."""
        return OutboxSort(self.choice("sort", _("Sort"), OutboxSort) or OutboxSort.NEWEST)

    def filters(self) -> OutboxFilters:
        """Give the same to the store. Raises ValueError with what to do."""
        for status in self.statuses:
            if status not in list(OutboxStatus):
                raise ValueError(_("Status: %(refusal)s.", refusal=choice_refusal(OutboxStatus, status)))
        channel = self.choice("channel", _("Channel"), CHANNELS)
        since, until = self.bounds()
        if len(self["recipient"]) > LONGEST_RECIPIENT:
            raise ValueError(_("Recipient: at most %(most)s characters.", most=LONGEST_RECIPIENT))
        try:
            session_id = UUID(self["session"]) if self["session"] else None
        except ValueError:
            raise ValueError(_("Session: enter a conversation’s ID.")) from None
        return OutboxFilters(
            statuses=frozenset(map(OutboxStatus, self.statuses)),
            trigger=without_nul(self["trigger"]) or None,
            channel=channel or None,
            recipient=without_nul(self["recipient"]) or None,
            session_id=session_id,
            since=since,
            until=until,
        )

    def query(self, **changed: str) -> str:
        """Write the query string, without a question mark; with *changed* the list starts at its beginning."""
        given = {**self.given, "cursor": "", **changed} if changed else self.given
        return urlencode({name: value for name, value in given.items() if value}, safe=",")

    def address(self, **changed: str) -> str:
        """Write the list's address with other values."""
        query = self.query(**changed)
        return f"{LOGS}?tab=email{'&' if query else ''}{query}"

    def entry(self, outbox_entry_id: UUID) -> str:
        """Write the address of one entry beside this list."""
        query = self.query()
        return f"{ADDRESS}/{outbox_entry_id}{'?' if query else ''}{query}"

    def without_status(self, status: str) -> str:
        """Write the list's address without that status."""
        return self.address(status=",".join(one for one in self.statuses if one != status))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTold:
    """Says on the page what became of an action: how many it was done to, and why not to others.

    ``done_said`` is the sentence about those; ``single`` is the result of an action on one entry, which is told in
    its own words.
    """

    mistake: str = ""
    done: int = 0
    done_said: str = ""
    refused: tuple[tuple[str, str], ...] = ()
    single: ActionResult | None = None

    @property
    def is_refused(self) -> bool:
        """Whether nothing was done."""
        return not self.done and not (self.single and self.single.done)


async def show_tab(request: Request, runtime: Runtime, identity: Principal) -> Response:
    """Show the list; for ``#outbox`` alone, and nothing for a drawer that is closed."""
    if target_of(request) == "drawer":
        return HTMLResponse("", headers={"Vary": "HX-Request, HX-Target"})
    return await _show(request, runtime, identity)


@router.get(f"{ADDRESS}/rows")
async def rows(request: Request, runtime: RuntimeDependency, identity: Reader, ids: str = "") -> Response:
    """Show those entries as they are now, whatever the list is narrowed to: what a page watches."""
    try:
        wanted = [UUID(one) for one in ids.split(",") if one]
    except ValueError:
        raise HTTPException(422, _("ids: list the IDs of entries, separated by commas.")) from None
    if len(wanted) > MOST_WATCHED:
        raise HTTPException(422, _("ids: at most %(most)s IDs.", most=MOST_WATCHED))
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await read_some(runtime, connection, identity, wanted)
    return render(request, "outbox/_rows.html", **_words(), **_rows(OutboxListQuery.read(request), identity, found))


@router.get(f"{ADDRESS}/export")
async def export(request: Request, runtime: RuntimeDependency, identity: Exporter) -> Response:
    """Send the list as a file."""
    kind = request.query_params.get("format", "")
    if kind not in get_args(OutboxFormat):
        raise HTTPException(422, f"format: {choice_refusal(get_args(OutboxFormat), kind)}.")
    try:
        filters = OutboxListQuery.read(request).filters()
    except ValueError as error:
        raise HTTPException(422, said(error)) from error
    filters = await filters_for(runtime, identity, filters)
    return download_outbox(request, identity, filters, kind)  # type: ignore[arg-type]


@router.post(f"{ADDRESS}/actions")
async def act_on_entries(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    action: Annotated[EntryAction, Form()],
    request_id: Annotated[UUID, Form()],
    entry_id: Annotated[list[UUID], Form(max_length=MOST_WATCHED, default_factory=list)],
    opened: Annotated[UUID | None, Form()] = None,
) -> Response:
    """Do something to the entries that are ticked, or to the one that is open, and show what became of it."""
    if not entry_id:
        return await _show(request, runtime, identity, told=ActionTold(mistake=NOTHING_TICKED))
    by = administrator_of(identity)
    results = await act(runtime, identity.tenant_id, action, entry_id, by, request_id=request_id)
    if opened is not None:
        return await _show(request, runtime, identity, opened, told=ActionTold(single=results[0]))
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await read_some(runtime, connection, identity, [one.outbox_entry_id for one in results])
    names = {one.outbox_entry_id: one.recipient for one in found}
    done = sum(one.done for one in results)
    told = ActionTold(
        done=done,
        done_said=_done_said(action, done),
        refused=tuple((names.get(one.outbox_entry_id, _("An entry")), one.said) for one in results if not one.done),
    )
    return await _show(request, runtime, identity, told=told)


def _done_said(action: EntryAction, count: int) -> str:
    """What is said of the entries to which something was done."""
    match action:
        case EntryAction.RETRY:
            return _n("%(count)s entry is being retried.", "%(count)s entries are being retried.", count)
        case EntryAction.RESEND:
            return _n("%(count)s entry is being sent again.", "%(count)s entries are being sent again.", count)
        case EntryAction.CANCEL:
            return _n("%(count)s entry is cancelled.", "%(count)s entries are cancelled.", count)


@router.get(f"{ADDRESS}/{{outbox_entry_id}}")
async def show_entry(request: Request, runtime: RuntimeDependency, identity: Reader, outbox_entry_id: UUID) -> Response:
    """Show one entry: as a fragment for the drawer, or beside its list."""
    return await _show(request, runtime, identity, outbox_entry_id)


@router.get(f"{ADDRESS}/{{outbox_entry_id}}/message")
async def show_message(runtime: RuntimeDependency, identity: Reader, outbox_entry_id: UUID) -> Response:
    """Send the mail's HTML, for the frame in which it is shown: it can do nothing there but be read."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await read_entry(runtime, connection, identity, outbox_entry_id)
    html = found.email and found.email.get("html")
    if not html:
        raise NotFoundError(_("This entry has no HTML email."))
    return HTMLResponse(f"{_BEFORE_MESSAGE}{html}", headers=MESSAGE_HEADERS)


async def _show(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    opened: UUID | None = None,
    *,
    told: ActionTold | None = None,
) -> Response:
    """The list with the entry *opened* beside it, or the part of the page that was asked for."""
    query, part = OutboxListQuery.read(request), target_of(request)
    context: dict[str, Any] = {"query": query, "told": told, "active": None}
    status = 200
    if opened is None or part != "drawer":
        context |= await _list(runtime, identity, query)
        status = 422 if context["mistake"] else 200
    if opened is not None:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            context |= _detail(await read_entry(runtime, connection, identity, opened))
    context |= {
        "request_id": runtime.source.new_id(),
        "may_write": identity.may("communications.access:write"),
        "actions": EntryAction,
    }
    template = {"drawer": "outbox/_drawer.html", "outbox": "outbox/_list.html"}.get(part, "outbox/page.html")
    # A fragment is put in its place whatever became of the action; a page says so by its status.
    if told is not None and told.is_refused and template == "outbox/page.html":
        status = 409
    answer = render(request, template, status_code=status, **_words(), **context)
    answer.headers.update(WITH_FRAMES)
    return answer


async def _list(runtime: Runtime, identity: Principal, query: OutboxListQuery) -> dict[str, Any]:
    page, mistake = OutboxPage([], None), ""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        triggers = await outbox_list.triggers(connection, identity.tenant_id)
    try:
        filters, sort = query.filters(), query.sort
        filters = await filters_for(runtime, identity, filters)
        async with runtime.database.tenant(identity.tenant_id) as connection:
            page = await read_page(
                runtime, connection, identity, filters, cursor=query["cursor"] or None, limit=PAGE_SIZE, sort=sort
            )
    except MalformedCursorError:
        mistake = _("This page of the list no longer exists. Start again from the newest.")
    except TooSlowError:
        mistake = _("The search took too long. Narrow it down, for example by date.")
    except ValueError as error:
        mistake = said(error)
    return {
        **_rows(query, identity, page.items),
        "mistake": mistake,
        "next_cursor": page.next_cursor,
        "triggers": triggers,
        "replies": outbox_list.REPLIES,
    }


def _rows(query: OutboxListQuery, identity: Principal, found: list[ListedEntry]) -> dict[str, Any]:
    return {
        "rows": found,
        "query": query,
        "may_write": identity.may("communications.access:write"),
        "active": None,
    }


def _words() -> dict[str, Any]:
    return {
        "address": ADDRESS,
        "STATUSES": wording.ENTRY_STATUSES,
        "SENT_BY": wording.OUTBOX_CHANNELS,
        "RESULTS": wording.ATTEMPT_RESULTS,
    }


def _detail(found: EntryDetail) -> dict[str, Any]:
    """The context of ``outbox/_drawer.html``."""
    return {"active": found, "answers": [server_words(one.answer) for one in found.attempts]}


def server_words(answer: Any) -> str:
    """What a server said, out of the JSON in which it is kept; all of that where no words stand in it."""
    if answer is None:
        return ""
    text = answer if isinstance(answer, str) else _words_in(answer)
    text = text or json.dumps(answer, ensure_ascii=False)
    return text if len(text) <= LONGEST_ANSWER else f"{text[:LONGEST_ANSWER]}…"


def _words_in(answer: Any) -> str:
    if not isinstance(answer, Mapping):
        return ""
    for name in ("error", "message", "said", "text", "reason", "answer"):
        held = answer.get(name)
        if isinstance(held, str) and held:
            return held
        if isinstance(held, Mapping) and (words := _words_in(held)):
            return words
    return ""
