"""The simulator: a phone in the browser that writes to the tenant as any contact.

What the contact wrote is read from the record, what reached the phone from the stand-in's journal; a message that
no worker has loaded yet is shown from the memory of this process.
"""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID, uuid5

from fastapi import APIRouter, Depends, File, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.channels.whatsapp.contents import content_of
from dragoman.domain.content import Content
from dragoman.domain.nouns import MessageContext, Sender
from dragoman.domain.plain_text import contact_label, cut
from dragoman.ledger import read
from dragoman.ledger.read import Event, Message
from dragoman.services.channels import simulate
from dragoman.services.channels.simulate import Phone, ReceivedMessage, StandinUnreachableError
from dragoman.services.visibility import UNMASK
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, Filters
from dragoman.store.database import Connection
from dragoman.translations import gettext as _
from dragoman.web import audited_reads
from dragoman.web.auth import MissingPermissionError, Principal, require
from dragoman.web.console import attachments, detail, drafts, timeline, transcript, wording
from dragoman.web.console.attachments import MessageAttachment
from dragoman.web.console.examples import EXAMPLES
from dragoman.web.console.page import render, said, target_of, times_of
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Writer = Annotated[Principal, Depends(require("communications.access:write"))]


def _sees_numbers(identity: Writer) -> Principal:
    """Whoever may use the simulator, where they may see numbers: it shows and takes those of all contacts."""
    if not identity.visibility.unmasked:
        raise MissingPermissionError(UNMASK)
    return identity


Developer = Annotated[Principal, Depends(_sees_numbers)]

SESSIONS_SHOWN = 3
PEOPLE_OFFERED = 8
_NUMBER = re.compile(r"\+?[0-9]{6,15}")
_NAMESPACE = UUID("6f1b3a52-7f0e-4a8e-9a39-0d6f3a2c9b11")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnItsWay:
    """A message of the simulator that is not on record yet."""

    wamid: str
    at: datetime
    content: Content
    reply_to: str | None


class PendingMessages:
    """What was sent a moment ago, for each phone and each number that it wrote to.

    Bounded, since it is only shown until it is on record.
    """

    MOST_PHONES = 200
    MOST_MESSAGES = 20

    def __init__(self) -> None:
        self._phones: OrderedDict[tuple[UUID, str], list[OnItsWay]] = OrderedDict()

    def add(self, account: ChannelAccount, phone: Phone, message: OnItsWay) -> None:
        """Keep *message*."""
        key = (account.channel_account_id, phone.number)
        kept = self._phones.setdefault(key, [])
        kept.append(message)
        del kept[: -self.MOST_MESSAGES]
        self._phones.move_to_end(key)
        if len(self._phones) > self.MOST_PHONES:
            self._phones.popitem(last=False)

    def missing(self, account: ChannelAccount, phone: Phone, on_record: set[str | None]) -> list[OnItsWay]:
        """Those that are not among *on_record*; the others are forgotten."""
        kept = self._phones.get((account.channel_account_id, phone.number), [])
        kept[:] = [message for message in kept if message.wamid not in on_record]
        return list(kept)


_pending = PendingMessages()


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberChoice:
    """Which of the tenant's WhatsApp numbers the phone writes to.

    ``account`` is None where the tenant has none, or not the one that was asked for.
    """

    accounts: list[ChannelAccount]
    account: ChannelAccount | None

    @property
    def offered(self) -> list[ChannelAccount]:
        """Those to choose from: a number that is stopped sends nothing, so it is not offered unless it was chosen."""
        return [each for each in self.accounts if each.stopped_at is None or each is self.account]


@router.get("/simulator")
async def simulator(request: Request, runtime: RuntimeDependency, identity: Developer) -> Response:
    """Show the page, with the phone of the contact and our number that the address names."""
    given = request.query_params
    phone = _phone(given.get("phone", ""), given.get("name", ""))
    async with runtime.database.tenant(identity.tenant_id) as connection:
        people = await _people(connection, identity.tenant_id)
        choice = await _choose_number(connection, identity.tenant_id, phone, given.get("to", ""))
    context: dict[str, Any] = {
        "people": people,
        "choice": choice,
        "account": choice.account,
        "to": given.get("to", ""),
        "phone": phone if choice.account is not None else None,
        "given": given.get("phone", ""),
        "is_number": phone is not None,
        "name": "" if phone is None else phone.name,
        "examples": EXAMPLES,
        "standin": runtime.settings.standin_token is not None,
        "has_mail": runtime.received_mails is not None,
        "items": [],
        "groups": [],
        "latest": None,
        "trouble": "",
        "answering": None,
        "editing": None,
    }
    if phone is not None and choice.account is not None and context["standin"]:
        context |= await _chat(request, runtime, identity, phone, choice.account)
        bubbles = {i.message.channel_message_id: i for i in context["items"] if isinstance(i, transcript.Bubble)}
        context["answering"] = bubbles.get(given.get("reply") or None)
        context["editing"] = bubbles.get(given.get("edit") or None)
    return render(request, "simulator/page.html", **context)


@router.get("/simulator/chat")
async def chat(request: Request, runtime: RuntimeDependency, identity: Developer) -> Response:
    """The phone's messages, as a fragment that the page asks for every second."""
    given = request.query_params
    phone = _phone(given.get("phone", ""), given.get("name", ""))
    if phone is None or target_of(request) == "":
        return RedirectResponse("/simulator", 303)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        choice = await _choose_number(connection, identity.tenant_id, phone, given.get("to", ""))
    return await _fragment(request, runtime, identity, phone, choice.account)


@router.post("/simulator/send")
async def send(
    request: Request, runtime: RuntimeDependency, identity: Developer, file: Annotated[UploadFile | None, File()] = None
) -> Response:
    """Write a message from the phone, then show its messages again."""
    fields = {name: _cleaned(value) for name, value in (await request.form()).items() if isinstance(value, str)}
    phone = _phone(fields.get("phone", ""), fields.get("name", ""))
    if phone is None:
        return RedirectResponse("/simulator", 303)
    sent = None
    if file is not None and file.filename:
        sent = drafts.File(
            name=cut(file.filename, 200), mime_type=(file.content_type or "")[:100], content=await file.read()
        )
    async with runtime.database.tenant(identity.tenant_id) as connection:
        choice = await _choose_number(connection, identity.tenant_id, phone, fields.get("to", ""))
    account = choice.account
    trouble = "" if account is None else await _write(runtime, phone, account, fields, sent)
    if target_of(request) == "":
        to = fields.get("to", "") if account is None else str(account.channel_account_id)
        return RedirectResponse(f"/simulator?{urlencode({'phone': phone.number, 'name': phone.name, 'to': to})}", 303)
    return await _fragment(request, runtime, identity, phone, account, trouble)


async def _fragment(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    phone: Phone,
    account: ChannelAccount | None,
    trouble: str = "",
) -> Response:
    """The phone's messages, and above them *trouble*, where there is any."""
    if account is None:
        shown: dict[str, Any] = {"items": [], "groups": [], "latest": None, "waiting": set()}
        trouble = _("This WhatsApp number does not exist. Choose another.")
    else:
        shown = await _chat(request, runtime, identity, phone, account)
    shown["trouble"] = trouble or shown.get("trouble", "")
    return render(request, "simulator/_fragment.html", phone=phone, account=account, **shown)


async def _write(
    runtime: RuntimeDependency,
    phone: Phone,
    account: ChannelAccount,
    fields: Mapping[str, str],
    file: drafts.File | None,
) -> str:
    """Send what the form says to *account*; answers what went wrong, empty if nothing did."""
    try:
        # Only a reaction at a tap asks what came last.
        arrived = await _arrived(runtime, phone, account) if fields.get("example") == "reaction" else []
        draft = drafts.draft(
            fields,
            file,
            ours=account.display.lstrip("+").replace(" ", ""),
            last_wamid=arrived[-1].wamid if arrived else "",
        )
        if draft is None:
            return ""
        media_id = None
        if draft.file is not None:
            media_id = await simulate.upload(
                runtime,
                account,
                name=draft.file.name,
                mime_type=draft.file.mime_type,
                content=draft.file.content,
            )
        message = draft.sealed(media_id)
        played = await simulate.write(runtime, account.address, phone, message)
    except drafts.DraftError as error:
        return said(error)
    except StandinUnreachableError as error:
        return _("The simulated WhatsApp did not accept the message: %(problem)s.", problem=said(error))
    if played.status != 200:
        return _refusal(played.status, cut(played.text, 200))
    sent = OnItsWay(
        wamid=played.wamid, at=runtime.clock.now(), content=content_of(message, ()), reply_to=draft.reply_to
    )
    _pending.add(account, phone, sent)
    return ""


def _refusal(status: int | None, text: str) -> str:
    if not status:
        return _("The webhook responded with nothing: %(text)s", text=text)
    return _("The webhook responded %(status)s: %(text)s", status=status, text=text)


async def _chat(
    request: Request, runtime: RuntimeDependency, identity: Principal, phone: Phone, account: ChannelAccount
) -> dict[str, Any]:
    """Both sides of the chat with *account* as the phone shows them, and the session that it belongs to.

    A phone has a chat of its own with each number; what was said in another one is not shown.
    """
    async with runtime.database.tenant(identity.tenant_id) as connection:
        sessions = await _sessions(connection, identity.tenant_id, phone, account)
        cutoff = retention_cutoff(runtime, identity.retention_days)
        recorded: list[Message] = []
        files: dict[UUID, MessageAttachment] = {}
        for session in sessions:
            await audited_reads.opened(runtime, connection, identity, session)
            written = await read.transcript(connection, identity.tenant_id, session, cutoff=cutoff, limit=1000)
            found = [message for message in written if message.sender is Sender.CONTACT]
            recorded += found
            files |= await attachments.load(connection, identity.tenant_id, session.session_id, found)
        events = await _events(connection, identity.tenant_id, sessions, cutoff)
    trouble = ""
    try:
        since = min((session.started_at for session in sessions), default=None)
        arrived = [r for r in await _arrived(runtime, phone, account) if since is None or r.at >= since]
    except StandinUnreachableError as error:
        arrived, trouble = [], _("The simulated WhatsApp cannot be reached: %(problem)s.", problem=said(error))
    waiting = _pending.missing(account, phone, {message.channel_message_id for message in recorded})
    both = [
        *recorded,
        *(_as_message(m, Sender.BOT) for m in arrived),
        *(_as_message(m, Sender.CONTACT) for m in waiting),
    ]
    both.sort(key=lambda message: message.at)
    known = {wording.GUESSED_FROM: detail.guessed_from(sessions[0])} if sessions else {}
    return {
        "items": transcript.items(_numbered(both), [], contact=phone.name, times=times_of(request), files=files),
        "latest": sessions[0] if sessions else None,
        "groups": timeline.grouped(timeline.entries_of(events, frozenset(), known=known), recorded),
        "waiting": {f"m-{uuid5(_NAMESPACE, message.wamid)}" for message in waiting},
        "trouble": trouble,
    }


async def _events(
    connection: Connection, tenant_id: UUID, sessions: list[Conversation], cutoff: datetime
) -> list[Event]:
    if not sessions:
        return []
    return await read.timeline(connection, tenant_id, sessions[0], cutoff=cutoff, limit=1000)


def _numbered(messages: list[Message]) -> list[Message]:
    return [dataclasses.replace(message, ordinal=place) for place, message in enumerate(messages, start=1)]


def _as_message(found: ReceivedMessage | OnItsWay, sender: Sender) -> Message:
    return Message(
        ordinal=0,
        message_id=uuid5(_NAMESPACE, found.wamid),
        sender=sender,
        sender_name="",
        content=found.content,
        at=found.at,
        channel_at=None,
        channel_message_id=found.wamid,
        context=MessageContext(reply_to=found.reply_to),
        dispatch_id=None,
        delivery=None,
        delivery_reason="",
    )


async def _arrived(runtime: RuntimeDependency, phone: Phone, account: ChannelAccount) -> list[ReceivedMessage]:
    """What *account* sent to *phone*, oldest first. Raises StandinUnreachableError."""
    return [each for each in await simulate.received(runtime, phone) if each.sent_by == account.address]


async def _sessions(
    connection: Connection, tenant_id: UUID, phone: Phone, account: ChannelAccount | None = None
) -> list[Conversation]:
    """The phone's latest sessions, newest first: those with *account*, or with any number."""
    channel = "whatsapp" if account is None else account.channel_account_id
    page = await conversations.page(
        connection, tenant_id, Filters(phone=phone.number, channel=(channel,)), cursor=None, limit=SESSIONS_SHOWN
    )
    return [session for session in page.items if session.contact_phone == phone.number]


async def _people(connection: Connection, tenant_id: UUID) -> list[Phone]:
    page = await conversations.page(connection, tenant_id, Filters(), cursor=None, limit=60)
    found = {
        c.contact_phone: contact_label(c.contact_name, c.contact_phone) for c in reversed(page.items) if c.contact_phone
    }
    return [Phone(number=number, name=name) for number, name in reversed(found.items())][:PEOPLE_OFFERED]


async def _accounts(connection: Connection, tenant_id: UUID) -> list[ChannelAccount]:
    return [a for a in await channel_accounts.list_all(connection, tenant_id) if a.channel == "whatsapp"]


async def _choose_number(connection: Connection, tenant_id: UUID, phone: Phone | None, to: str) -> NumberChoice:
    """The number with the id *to*; where none is named, the one that the phone wrote to last, else the first."""
    accounts = await _accounts(connection, tenant_id)
    by_id = {str(account.channel_account_id): account for account in accounts}
    if to:
        return NumberChoice(accounts=accounts, account=by_id.get(to))
    sessions = await _sessions(connection, tenant_id, phone) if phone is not None and len(accounts) > 1 else []
    wrote_to = (by_id.get(str(session.channel_account_id)) for session in sessions)
    usable = (account for account in accounts if account.stopped_at is None)
    first = next((each for each in (*wrote_to, *usable, *accounts) if each is not None), None)
    return NumberChoice(accounts=accounts, account=first)


def _phone(number: str, name: str) -> Phone | None:
    bare = re.sub(r"[\s()./-]", "", number)
    if bare.startswith("00"):
        bare = bare[2:]
    if not _NUMBER.fullmatch(bare):
        return None
    number = f"+{bare.removeprefix('+')}"
    return Phone(number=number, name=cut(" ".join(name.split()), 60) or number)


def _cleaned(value: str) -> str:
    return cut(value.replace("\0", ""), 4096)
