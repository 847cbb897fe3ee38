"""Put deliveries of one tenant on record: messages in the mailbox, statuses held, the raw bytes kept, workers woken.

Transactions: one for all deliveries that are given at once. It writes each table with one statement, however many
items there are, and is the only thing that stands between the sender and its 200.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from dragoman.channels.interface import ChannelMessage, IdentityChange, Inbound, Item, Other, Status
from dragoman.dispatch.verification import code_rule
from dragoman.domain.content import Media
from dragoman.domain.media_types import read_sha256
from dragoman.domain.nouns import Identity, RawItem
from dragoman.domain.plain_text import visible_name
from dragoman.domain.redaction import RedactionRule
from dragoman.runtime import Job, Runtime
from dragoman.services.channels.synchronise_templates import apply_template_changes
from dragoman.store import media
from dragoman.store.channels import channel_events
from dragoman.store.channels.channel_events import ChannelEvent
from dragoman.store.contacts import codes, identities
from dragoman.store.contacts.identities import History, ResolvedContacts
from dragoman.store.contacts.identity_plan import GROUP, SenderProfile
from dragoman.store.database import Connection
from dragoman.store.receiving import deliveries, mailbox
from dragoman.store.receiving.deliveries import RawDelivery, StatusArrival
from dragoman.store.receiving.mailbox import FirstDelivery, MailboxArrival

log = structlog.get_logger()

PHONE_APP = "Phone app"
"""Who wrote what staff sent from the app of the business's phone: the channel does not say which of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAccount:
    """The channel account that an item is for."""

    channel_account_id: UUID
    display: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingDelivery:
    """One delivery, or the part of it that is this tenant's; ``accounts`` has every account that may be named.

    ``items`` in the order of the delivery, each with its account, or None where it is for none of ours. ``body`` holds
    just these: none may read another tenant's part. ``redacted`` has what was taken out, by the items' places here.
    """

    channel: Inbound
    body: bytes
    items: Sequence[tuple[NamedAccount | None, Item]]
    accounts: Sequence[NamedAccount]
    redacted: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What became of a delivery. ``duplicates`` were here before; ``others`` are kept raw, each with a reason."""

    messages: int = 0
    statuses: int = 0
    duplicates: int = 0
    others: int = 0


@dataclass(slots=True)
class _Batch:
    """The transaction's work: every item with its delivery, and what is found out about each."""

    runtime: Runtime
    tenant_id: UUID
    now: datetime
    delivery_ids: list[UUID]
    reports: list[list[dict[str, Any]]]
    channels: list[str]
    jobs: dict[tuple[str, UUID], None] = field(default_factory=dict)
    codes: dict[int, dict[str, list[RedactionRule]]] = field(default_factory=dict)
    """By delivery: messages in which a one-time code may stand, and the rules that find it."""

    def wake(self, entrypoint: str, key: UUID) -> None:
        self.jobs[entrypoint, key] = None


@dataclass(frozen=True, slots=True)
class _ItemIndex:
    """Where an item stands: which delivery of the batch, and where in it."""

    delivery: int
    item: int


async def ingest(runtime: Runtime, tenant_id: UUID, incoming: Sequence[IncomingDelivery]) -> list[IngestResult]:
    """Put all of *incoming* on record, or nothing; what became of each."""
    batch = _Batch(
        runtime=runtime,
        tenant_id=tenant_id,
        now=runtime.clock.now(),
        delivery_ids=[runtime.source.new_id() for _ in incoming],
        reports=[[{} for _ in one.items] for one in incoming],
        channels=[one.channel.name for one in incoming],
    )
    async with runtime.database.tenant(tenant_id, by_key=True) as connection:
        await _ingest_messages(batch, connection, incoming)
        await _ingest_statuses(batch, connection, list(_of(incoming, Status)))
        events = await _ingest_others(batch, connection, incoming)
        await deliveries.keep_raw(connection, tenant_id, [_raw(batch, n, one) for n, one in enumerate(incoming)])
        await runtime.queue.enqueue(
            connection, [Job(entrypoint=name, tenant_id=tenant_id, key=key) for name, key in batch.jobs]
        )
    for event in events:
        _log_channel_event(tenant_id, event)
    return [_counted(report) for report in batch.reports]


def _of(incoming: Sequence[IncomingDelivery], kind: type[Any]) -> Iterator[tuple[_ItemIndex, NamedAccount, Any]]:
    for n, one in enumerate(incoming):
        for place, (account, item) in enumerate(one.items):
            if account is not None and isinstance(item, kind):
                yield _ItemIndex(n, place), account, item


async def _ingest_messages(batch: _Batch, connection: Connection, incoming: Sequence[IncomingDelivery]) -> None:
    found: list[tuple[_ItemIndex, NamedAccount, ChannelMessage]] = list(_of(incoming, ChannelMessage))
    if not found:
        return
    resolved = await identities.resolve_all(
        connection,
        batch.tenant_id,
        [_profile(batch, message) for _, _, message in found],
        now=batch.now,
        new_id=batch.runtime.source.new_id,
    )
    await _expect_codes(batch, connection, found, resolved.contacts)
    arrivals = [
        _arrival(batch, place, account, message, contact_id, incoming[place.delivery].redacted.get(place.item))
        for (place, account, message), contact_id in zip(found, resolved.contacts, strict=True)
    ]
    new = await mailbox.insert(connection, batch.tenant_id, arrivals)
    known = await _known_duplicates(batch, connection, found, arrivals, new, resolved)
    await _follow_notices(batch, connection, found, arrivals, new, resolved)
    # What waits for a message that it refers to may have been waiting for one of these.
    came = [arrival for arrival in arrivals if arrival.message_id in new]
    await mailbox.release_held(
        connection, batch.tenant_id, {a.contact_id for a in came}, [a.channel_message_id for a in came]
    )
    wanted = [
        file
        for (place, _, _), arrival in zip(found, arrivals, strict=True)
        if arrival.message_id in new
        # An email brings its files along; they stand in the raw delivery.
        and batch.channels[place.delivery] == "whatsapp"
        and (file := _file_of(arrival))
    ]
    await media.insert_requests(connection, batch.tenant_id, wanted)
    for file in wanted:
        batch.wake("fetch_media", file.message_id)
    # Before the messages, so that a person's threads are one before the next message looks for its own.
    for contact_id in resolved.pending_merges:
        batch.wake("settle_contact", contact_id)
    for (place, _, _), arrival in zip(found, arrivals, strict=True):
        if arrival.message_id in new:
            batch.wake("handle_inbound", arrival.contact_id)
            report = {"id": arrival.channel_message_id, "result": "message", "message_id": str(arrival.message_id)}
        else:
            report = _duplicate_message(arrival, known)
        batch.reports[place.delivery][place.item] = report


def _profile(batch: _Batch, message: ChannelMessage) -> SenderProfile:
    """Whose thread it is: the person's, or the group's, which is known like a person."""
    at = message.channel_at or batch.now
    if message.group is not None:
        return SenderProfile(
            identities=(message.group,),
            display_name=None,
            phone=None,
            locale=message.locale,
            at=at,
            default_name=f"Group {message.group.value}",
        )
    return SenderProfile(
        identities=message.sender,
        display_name=visible_name(message.display_name),
        phone=message.phone,
        locale=message.locale,
        at=at,
        username=visible_name(message.username),
        default_name=message.default_name,
    )


async def _known_duplicates(
    batch: _Batch,
    connection: Connection,
    found: Sequence[tuple[_ItemIndex, NamedAccount, ChannelMessage]],
    arrivals: Sequence[MailboxArrival],
    new: Collection[UUID],
    resolved: ResolvedContacts,
) -> dict[tuple[UUID, str], FirstDelivery]:
    """The messages that were accepted before, by account and id; who is named otherwise this time is the same person.

    One message has one sender: where the first delivery named a number and this one a user id, both are theirs.
    """
    again = [n for n, arrival in enumerate(arrivals) if arrival.message_id not in new]
    if not again:
        return {}
    known = await mailbox.accepted(connection, batch.tenant_id, [arrivals[n] for n in again])
    for n in again:
        place, _, message = found[n]
        first = known.get(arrivals[n].key)
        if first is None or message.group is not None or first.contact_id == arrivals[n].contact_id:
            continue
        history = _history(batch, place)
        resolved.pending_merges |= await identities.bring_together(
            connection,
            batch.tenant_id,
            (first.contact_id, arrivals[n].contact_id),
            "one message came from both",
            history,
        )
        await history.write(connection)
    return known


def _duplicate_message(arrival: MailboxArrival, known: Mapping[tuple[UUID, str], FirstDelivery]) -> dict[str, Any]:
    """The first delivery of a message stays; what another says otherwise is named, not what it says."""
    first = known.get(arrival.key)
    differs = [] if first is None else first.differences(arrival)
    if not differs:
        return _duplicate(arrival.channel_message_id, "this message was accepted before")
    reason = "this message was accepted before, with other content; what came first stays"
    return {**_duplicate(arrival.channel_message_id, reason), "difference": differs}


async def _expect_codes(
    batch: _Batch,
    connection: Connection,
    found: Sequence[tuple[_ItemIndex, NamedAccount, ChannelMessage]],
    contacts: Sequence[UUID],
) -> None:
    """Note which messages may hold a one-time code: the raw delivery must not.

    In this transaction, since a code is only a code while one is expected. The mailbox has it until the dispatch has
    compared it.
    """
    expected = await codes.expected(connection, batch.tenant_id, set(contacts), now=batch.now)
    for (place, _, message), contact_id in zip(found, contacts, strict=True):
        if (asked := expected.get(contact_id)) is not None:
            rules = [code_rule(asked=asked)]
            batch.codes.setdefault(place.delivery, {})[message.channel_message_id] = rules


async def _follow_notices(
    batch: _Batch,
    connection: Connection,
    found: Sequence[tuple[_ItemIndex, NamedAccount, ChannelMessage]],
    arrivals: Sequence[MailboxArrival],
    new: Collection[UUID],
    resolved: ResolvedContacts,
) -> None:
    """What the channel's notices say of who people are; rare, and each on its own, once however often it comes."""
    for n, (place, _, message) in enumerate(found):
        said_nothing = message.identity_change is None and not message.revokes_confirmation
        if said_nothing or arrivals[n].message_id not in new:
            continue
        history = _history(batch, place)
        if message.identity_change is not None:
            resolved.pending_merges |= await _change_identity(batch, connection, message.identity_change, history)
        else:
            await identities.revoke_confirmation(connection, batch.tenant_id, resolved.contacts[n], history)
        await history.write(connection)


async def _change_identity(
    batch: _Batch, connection: Connection, change: IdentityChange, history: History
) -> set[UUID]:
    return await identities.change_identity(
        connection, batch.tenant_id, change.old, change.new, change.at or batch.now, history
    )


def _history(batch: _Batch, place: _ItemIndex) -> History:
    return History(batch.tenant_id, batch.now, batch.runtime.source.new_id, batch.delivery_ids[place.delivery])


def _arrival(
    batch: _Batch, place: _ItemIndex, account: NamedAccount, message: ChannelMessage, contact_id: UUID,
    redacted: Mapping[str, int] | None,
) -> MailboxArrival:  # fmt: skip
    new_id = batch.runtime.source.new_id
    return MailboxArrival(
        message_id=new_id(),
        dispatch_id=new_id(),
        contact_id=contact_id,
        channel_account_id=account.channel_account_id,
        channel_message_id=message.channel_message_id,
        fingerprint=message.fingerprint,
        received_at=batch.now,
        channel_at=message.channel_at or batch.now,
        content=message.content,
        context=message.context,
        trace_id=new_id().hex,
        # Nobody who writes in a group is answered in private.
        sender=message.group or message.sender[0],
        author=_author(message),
        from_us=message.from_us,
        raw=RawItem(delivery_id=batch.delivery_ids[place.delivery], item=place.item),
        attached_to=message.attached_to,
        redacted=redacted,
    )


def _author(message: ChannelMessage) -> str | None:
    """Who wrote it, where that is not the contact."""
    if message.from_us:
        return PHONE_APP
    if message.group is None:
        return None
    handle = visible_name(message.username)
    return visible_name(message.display_name) or (f"@{handle}" if handle else "A member of the group")


def _file_of(arrival: MailboxArrival) -> media.MediaRequest | None:
    """The file to fetch for a message: put down in the same transaction, since the channel keeps it for days only."""
    content = arrival.content
    if not isinstance(content, Media) or content.media_id is None or content.error is not None:
        return None
    return media.MediaRequest(
        message_id=arrival.message_id,
        channel_account_id=arrival.channel_account_id,
        channel_media_id=content.media_id,
        claimed_sha256=read_sha256(content.sha256),
        received_at=arrival.received_at,
    )


async def _ingest_statuses(
    batch: _Batch, connection: Connection, found: Sequence[tuple[_ItemIndex, NamedAccount, Status]]
) -> None:
    """Keep the statuses until they are applied."""
    if not found:
        return
    arrivals = [
        StatusArrival(
            channel_account_id=account.channel_account_id,
            channel_message_id=status.channel_message_id,
            status=status.status,
            channel_at=status.channel_at or batch.now,
            received_at=batch.now,
            errors=status.errors,
            correlation=status.correlation,
            participant=status.participant,
            raw=status.raw,
        )
        for _, account, status in found
    ]
    new = await deliveries.insert_statuses(connection, batch.tenant_id, arrivals)
    linked = await identities.link_known(
        connection,
        batch.tenant_id,
        [status.recipient for _, _, status in found],
        now=batch.now,
        new_id=batch.runtime.source.new_id,
    )
    for contact_id in linked:
        batch.wake("settle_contact", contact_id)
    for (place, account, status), arrival in zip(found, arrivals, strict=True):
        if arrival.key in new:
            # Two in one batch are one row: the second is the duplicate.
            new.discard(arrival.key)
            batch.wake("apply_statuses", account.channel_account_id)
            report = {"id": status.channel_message_id, "result": "status", "status": status.status}
        else:
            report = _duplicate(status.channel_message_id, "this status came before")
        batch.reports[place.delivery][place.item] = report


async def _ingest_others(
    batch: _Batch, connection: Connection, incoming: Sequence[IncomingDelivery]
) -> list[ChannelEvent]:
    events: list[ChannelEvent] = []
    for n, one in enumerate(incoming):
        for place, (account, item) in enumerate(one.items):
            if isinstance(item, Other):
                batch.reports[n][place] = {"result": "kept", "field": item.field, "reason": item.reason}
                await _follow_other(batch, connection, _ItemIndex(n, place), item)
                if item.event is not None:
                    events.append(_event(batch, one, account, item))
            elif account is None:
                batch.reports[n][place] = {
                    "id": item.channel_message_id,
                    "result": "kept",
                    "reason": f"{item.address} is none of this installation's channel accounts",
                }
    await channel_events.add(connection, batch.tenant_id, events)
    others = [item for one in incoming for _, item in one.items if isinstance(item, Other)]
    changes = [(item.owner, item.template) for item in others if item.owner and item.template]
    await apply_template_changes(connection, batch.tenant_id, changes, now=batch.now)
    return events


async def _follow_other(batch: _Batch, connection: Connection, place: _ItemIndex, item: Other) -> None:
    await _name_groups(batch, connection, item.group_names)
    if item.preference is None and item.identity_change is None and not item.one_person:
        return
    history = _history(batch, place)
    if item.one_person:
        # The channel speaks of people who wrote: whoever is not known yet is about to be.
        person = SenderProfile(
            identities=item.one_person, display_name=None, phone=_phone_of(item.one_person), locale="", at=batch.now
        )
        resolved = await identities.resolve_all(
            connection, batch.tenant_id, [person], now=batch.now, new_id=batch.runtime.source.new_id,
            delivery_id=batch.delivery_ids[place.delivery],
        )  # fmt: skip
        for contact_id in resolved.pending_merges:
            batch.wake("settle_contact", contact_id)
    if item.preference is not None:
        wish = item.preference
        await identities.set_marketing_preference(
            connection,
            batch.tenant_id,
            wish.sender,
            stopped=wish.opts_out,
            detail=wish.detail,
            at=wish.at or batch.now,
            history=history,
        )
    if item.identity_change is not None:
        for contact_id in await _change_identity(batch, connection, item.identity_change, history):
            batch.wake("settle_contact", contact_id)
    await history.write(connection)


async def _name_groups(batch: _Batch, connection: Connection, names: Sequence[tuple[str, str]]) -> None:
    groups = [
        SenderProfile(
            identities=(Identity(kind=GROUP, value=group_id),), display_name=name, phone=None, locale="", at=batch.now
        )
        for group_id, written in names
        if (name := visible_name(written)) is not None
    ]
    await identities.resolve_all(connection, batch.tenant_id, groups, now=batch.now, new_id=batch.runtime.source.new_id)


def _phone_of(one_person: Sequence[Identity]) -> str | None:
    return next((f"+{i.value}" for i in one_person if i.kind == "wa_id" and i.value.isdecimal()), None)


def _event(batch: _Batch, one: IncomingDelivery, account: NamedAccount | None, item: Other) -> ChannelEvent:
    if item.event is None:
        raise TypeError("an item without an event")
    shown = _digits(item.event.display)
    named = account or next((a for a in one.accounts if shown and _digits(a.display) == shown), None)
    return ChannelEvent(
        event_id=batch.runtime.source.new_id(),
        at=batch.now,
        channel=one.channel.name,
        channel_account_id=named.channel_account_id if named else None,
        waba_id=item.owner,
        field=item.field,
        event=item.event.event,
        severity=item.event.severity,
        summary=item.event.summary,
        raw=item.raw,
    )


def _digits(display: str | None) -> str:
    return "".join(c for c in display or "" if c.isdecimal())


def _log_channel_event(tenant_id: UUID, event: ChannelEvent) -> None:
    tell = {"error": log.error, "warning": log.warning, "info": log.info}[event.severity]
    tell(
        "channel_event",
        tenant_id=str(tenant_id),
        channel=event.channel,
        account=event.channel_account_id,
        field=event.field,
    )


def _raw(batch: _Batch, n: int, one: IncomingDelivery) -> RawDelivery:
    return RawDelivery(
        delivery_id=batch.delivery_ids[n],
        at=batch.now,
        channel=one.channel.name,
        channel_account_id=next((a.channel_account_id for a, _ in one.items if a), None),
        body=one.channel.redact_messages(one.body, batch.codes[n]) if n in batch.codes else one.body,
        items=batch.reports[n],
    )


def _duplicate(channel_message_id: str, reason: str) -> dict[str, Any]:
    return {"id": channel_message_id, "result": "duplicate", "reason": reason}


def _counted(report: Sequence[dict[str, Any]]) -> IngestResult:
    done = [entry["result"] for entry in report]
    return IngestResult(
        messages=done.count("message"),
        statuses=done.count("status"),
        duplicates=done.count("duplicate"),
        others=done.count("kept"),
    )
