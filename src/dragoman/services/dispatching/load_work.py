"""Load what the next dispatches of some contacts may know, in the transaction that takes their messages up.

No transaction of its own: it works in one that holds the contacts' leases. As many statements for a group of contacts
as for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from dragoman.dispatch.aside import is_aside
from dragoman.dispatch.expire import expire
from dragoman.dispatch.turn import Busy, Refusal
from dragoman.domain.content import Edit, Reaction, Revoke
from dragoman.domain.flows import Flow
from dragoman.domain.nouns import Contact, Session
from dragoman.ledger import append, sessions
from dragoman.ledger.sessions import ThreadState
from dragoman.runtime import Runtime
from dragoman.services.dispatching import admit
from dragoman.services.dispatching.admit import BusySpan, longer
from dragoman.services.dispatching.one_time_codes import IssuedCode
from dragoman.services.dispatching.place_aside import AsidePlace, Held, place_aside
from dragoman.store.catalogue import flows, skills
from dragoman.store.catalogue.skills import DispatchRules
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.contacts import contacts
from dragoman.store.contacts.contacts import Identity
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.receiving import mailbox, references
from dragoman.store.receiving.mailbox import Waiting

MOST_ASIDES = 20
"""So many of a contact's items are held or ended in one transaction, which it shares with other contacts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchWork:
    """One message and all that its dispatch may know."""

    lease: Lease
    waiting: Waiting
    contact: Contact
    recipient: Identity
    context: append.Context
    thread_id: UUID
    session: Session | None
    previous_session_id: UUID | None
    rules: DispatchRules
    running: Flow | None
    loaded_at: datetime
    busy_span: BusySpan | None = None
    refused: Refusal | None = None
    busy: Busy | None = None
    silent_until: datetime | None = None
    issued_codes: list[IssuedCode] = field(default_factory=list)
    """The one-time code of this dispatch, from when it was made until it is in the outbox."""

    @property
    def is_left_alone(self) -> bool:
        """Whether the bot has nothing to do with it: what needs no answer, what we wrote, what is said in a group."""
        message = self.waiting.message
        is_silent = self.silent_until is not None and self.loaded_at < self.silent_until
        return is_aside(message) or message.from_us or message.context.group_id is not None or is_silent


@dataclass(frozen=True, slots=True, kw_only=True)
class NextMessage:
    """A contact whose next message is wanted; *before* is what its lease's holder has just done for it."""

    lease: Lease
    contact_id: UUID
    before: DispatchWork | None = None


async def load_work(
    runtime: Runtime, connection: Connection, tenant_id: UUID, wanted: Sequence[NextMessage]
) -> dict[UUID, DispatchWork]:
    """Load the next message of each contact that has one, with its surroundings."""
    if not wanted:
        return {}
    now = runtime.clock.now()
    waiting, sides = await _next_messages(connection, tenant_id, [w.contact_id for w in wanted], now=now)
    if not waiting:
        return {}
    known = await contacts.load_all(connection, tenant_id, list(waiting), now=now)
    accounts = await channel_accounts.load_all(connection, tenant_id, {w.channel_account_id for w in waiting.values()})
    places = await sessions.thread_states(connection, tenant_id, list(waiting))
    rules = await skills.dispatch_rules(connection, tenant_id)
    late: list[append.TurnRecord] = []
    found: list[DispatchWork] = []
    for one in wanted:
        if one.contact_id not in waiting:
            continue
        mail = waiting[one.contact_id]
        contact, account = known[one.contact_id], accounts[mail.channel_account_id]
        work = DispatchWork(
            lease=one.lease,
            waiting=mail,
            contact=contact,
            recipient=mail.sender or await _first_address(connection, tenant_id, one.contact_id),
            context=_context(contact, account),
            thread_id=mail.message.message_id,  # placed below
            session=None,
            previous_session_id=None,
            rules=rules,
            running=None,
            loaded_at=now,
            busy_span=longer(one.before.busy_span, BusySpan(since=one.before.loaded_at, until=now))
            if one.before
            else None,
        )
        there = places.get(one.contact_id, [])
        if one.contact_id in sides:
            found.append(await _beside(connection, tenant_id, work, there, sides[one.contact_id]))
        else:
            found.append(await _placed(runtime, connection, tenant_id, work, there, late))
    if late:
        await append.write_turns(connection, tenant_id, late)
    # Last, so that rows that many workers count in are held for as short as can be.
    refused = await admit.within_limits(
        connection,
        tenant_id,
        [work.waiting for work in found if not work.waiting.running and not work.is_left_alone],
        rules.policy,
    )
    return {
        work.contact.contact_id: replace(work, refused=refused.get(work.waiting.message.message_id)) for work in found
    }


async def _next_messages(
    connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID], *, now: datetime
) -> tuple[dict[UUID, Waiting], dict[UUID, UUID]]:
    """The next message of each contact that has one to be dispatched now; the session in which it stands if put aside.

    What refers to a message that has not come is held, and what belongs nowhere is done, before the next is looked at.
    Of a contact who sends more of these than MOST_ASIDES at a time, the others are left to the sweep.
    """
    found: dict[UUID, Waiting] = {}
    sides: dict[UUID, UUID] = {}
    asked: Sequence[UUID] = contact_ids
    for _ in range(MOST_ASIDES):
        if not asked:
            break
        waiting = await mailbox.next_waiting(connection, tenant_id, asked, now=now)
        asked = []
        for contact_id, one in waiting.items():
            is_beside = is_aside(one.message) and not one.running
            place = await place_aside(connection, tenant_id, one, now=now) if is_beside else None
            match place:
                case Held(until=until):
                    await mailbox.hold(connection, tenant_id, one.message.message_id, until=until)
                    asked.append(contact_id)
                case AsidePlace(session_id=None):
                    await mailbox.set_aside(connection, tenant_id, one.message.message_id, now=now)
                    asked.append(contact_id)
                case AsidePlace(session_id=UUID() as session_id, target=target):
                    found[contact_id], sides[contact_id] = _naming(one, target), session_id
                case None:
                    found[contact_id] = await _quoting(connection, tenant_id, one)
    return found, sides


def _naming(one: Waiting, target: str | None) -> Waiting:
    """The item about its message under the id by which that message is known here."""
    content = one.message.content
    if target is None or not isinstance(content, Reaction | Edit | Revoke) or content.target == target:
        return one
    return replace(one, message=replace(one.message, content=replace(content, target=target)))


async def _quoting(connection: Connection, tenant_id: UUID, one: Waiting) -> Waiting:
    """The message with what it quotes under the id by which that is known here."""
    quoted = one.message.context.reply_to
    if quoted is None or one.running:
        return one
    found = await references.find_referred(connection, tenant_id, one.contact_id, one.channel_account_id, quoted)
    if found is None or found.channel_message_id == quoted:
        return one
    context = replace(one.message.context, reply_to=found.channel_message_id)
    return replace(one, message=replace(one.message, context=context))


async def _beside(
    connection: Connection, tenant_id: UUID, work: DispatchWork, threads: Sequence[ThreadState], session_id: UUID
) -> DispatchWork:
    """The work in the session that it belongs to, which may have ended."""
    session = await sessions.get(connection, tenant_id, session_id)
    if session is None:
        raise LookupError(f"no session {session_id}")
    current = next((p for p in threads if p.session and p.session.session_id == session_id), None)
    context = current.context if current else None
    return replace(
        work,
        thread_id=session.thread_id,
        session=session,
        # It changes nothing of the session, not even who its contact was called then.
        context=context or await sessions.context(connection, tenant_id, session_id),
    )


async def _placed(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    work: DispatchWork,
    places: Sequence[ThreadState],
    late: list[append.TurnRecord],
) -> DispatchWork:
    """The work in its thread; sessions that should have ended by now are ended by what is added to *late*."""
    waiting, policy = work.waiting, work.rules.policy
    place = next((p for p in places if p.channel_account_id == waiting.channel_account_id), None)
    if place is None:
        thread_id = await contacts.thread(
            connection,
            tenant_id,
            waiting.contact_id,
            waiting.channel_account_id,
            now=work.loaded_at,
            new_id=runtime.source.new_id,
        )
        session, latest_id = None, None
    else:
        thread_id, session, latest_id = place.thread_id, place.session, place.latest_id
    if session is not None and not waiting.running:
        turn = expire(session, waiting.message.received_at, policy, runtime.source)
        if turn is not None:
            late.append(append.TurnRecord(turn=turn, context=work.context))
            session = None
    position = session.flow if session else None
    # Whatever was imported since: a session goes on with the version that it began with.
    running = await flows.get_version(connection, tenant_id, position.flow, position.version) if position else None
    busy = None
    if not waiting.running and not waiting.message.from_us and waiting.message.context.group_id is None:
        others = [p for p in places if p.thread_id != thread_id]
        busy = admit.busy(runtime, waiting, policy, others, session=session, hold=work.busy_span, late=late)
    return replace(
        work,
        thread_id=thread_id,
        session=session,
        previous_session_id=None if session else latest_id,
        running=running,
        busy=busy,
        silent_until=place.silent_until if place else None,
    )


async def _first_address(connection: Connection, tenant_id: UUID, contact_id: UUID) -> Identity:
    """Where a message is answered that was put in the mailbox before senders were kept."""
    known = {identity.kind: identity for identity in await contacts.addresses(connection, tenant_id, contact_id)}
    return known.get("wa_id") or known["wa_user_id"]


def _context(contact: Contact, account: ChannelAccount) -> append.Context:
    partner = contact.business_partner
    return append.Context(
        channel_account_id=account.channel_account_id,
        channel=account.channel,
        channel_display=account.display,
        contact_name=contact.called,
        contact_phone=contact.phone,
        business_partner_id=partner.business_partner_id if partner else None,
        business_partner_name=partner.name if partner else None,
    )
