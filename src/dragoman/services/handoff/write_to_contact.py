"""Writes what agents say: an answer to the contact, or a note for their colleagues.

Transactions: one for each, under the contact's lease. An answer, its event and its place in the outbox are one
transaction, and so is the key of the request: however often it comes, it is done once.
"""

from __future__ import annotations

from uuid import UUID

from dragoman.dispatch import handoff
from dragoman.dispatch.turn import Turn
from dragoman.domain.content import Content, Media, Note
from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.handoff import Agent
from dragoman.domain.nouns import Identity, MessageContext
from dragoman.ledger import sessions
from dragoman.runtime import Job, Runtime
from dragoman.services.handoff.hold_session import HeldSession, hold_session
from dragoman.store import media
from dragoman.store.contacts import contacts
from dragoman.store.contacts.identity_plan import GROUP
from dragoman.store.handoff import agent_requests, attention, drafts
from dragoman.store.receiving import mailbox
from dragoman.store.sending import outbox, service_windows
from dragoman.translations import deferred


async def send_answer(
    runtime: Runtime,
    tenant_id: UUID,
    session_id: UUID,
    agent: Agent,
    answer: Content,
    *,
    request_id: UUID,
    reply_to: str | None = None,
) -> bool:
    """Send *answer* in the agent's name; False where this very request was done already.

    *reply_to* is the channel's id of the message that it quotes. Raises NotFoundError, ChangeRefusedError for anybody
    but the owner, and WindowClosedError for free text outside the contact's customer service window.
    """
    async with hold_session(runtime, tenant_id, session_id) as held:
        connection = held.connection
        if not await agent_requests.begin(connection, tenant_id, request_id, session_id, now=held.now):
            return False
        window_until = None
        if held.context.channel == "whatsapp":
            window_until = await service_windows.closes_at(
                connection,
                tenant_id,
                contact_id=held.session.contact_id,
                channel_account_id=held.context.channel_account_id,
                now=held.now,
            )
        turn = handoff.answer(
            held.session,
            agent,
            answer,
            held.now,
            runtime.source,
            channel=held.context.channel,
            window_until=window_until,
            context=MessageContext(reply_to=reply_to),
        )
        await held.write(turn)
        await _put_in_outbox(held, turn)
        await _fetch_files(held, turn)
        await _after_writing(held, agent, is_note=False)
        held.wake_sender()
        return True


async def add_note(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, text: str, *, request_id: UUID
) -> bool:
    """Write a note that the contact never gets; False where this very request was done already.

    Raises NotFoundError, and ChangeRefusedError.
    """
    async with hold_session(runtime, tenant_id, session_id) as held:
        if not await agent_requests.begin(held.connection, tenant_id, request_id, session_id, now=held.now):
            return False
        turn = handoff.add_note(held.session, agent, text, held.now, runtime.source)
        await held.write(turn)
        await _after_writing(held, agent, is_note=True)
        return True


async def _after_writing(held: HeldSession, agent: Agent, *, is_note: bool) -> None:
    """What was written is no draft any more, and its author has read up to it."""
    of = (held.connection, held.tenant_id, held.session.session_id)
    await drafts.discard(*of, agent.agent_id, is_note=is_note)
    await attention.mark_seen(*of, agent, await sessions.item_count(*of), now=held.now)


async def _put_in_outbox(held: HeldSession, turn: Turn) -> None:
    recipient = await _recipient(held)
    human = turn.session.handoff
    replies = [
        outbox.OutboundReply(
            outbox_entry_id=held.runtime.source.new_id(),
            contact_id=held.session.contact_id,
            channel_account_id=held.context.channel_account_id,
            session_id=held.session.session_id,
            message_id=item.message_id,
            channel=held.context.channel,
            recipient=recipient.value,
            recipient_kind=recipient.kind,
            content=item.content,
            reply_to=item.context.reply_to,
            by_agent=True,
            fence=human.fence if human else 0,
        )
        for item in turn.transcript
        if not isinstance(item.content, Note)
    ]
    await outbox.add(held.connection, held.tenant_id, replies, now=held.now)


async def _fetch_files(held: HeldSession, turn: Turn) -> None:
    """Have the files that go out kept with the transcript, as those that come in are."""
    files = [
        media.MediaRequest(
            message_id=item.message_id,
            channel_account_id=held.context.channel_account_id,
            channel_media_id=item.content.media_id,
            claimed_sha256=None,
            received_at=held.now,
        )
        for item in turn.transcript
        if isinstance(item.content, Media) and item.content.media_id
    ]
    await media.insert_requests(held.connection, held.tenant_id, files)
    held.jobs.extend(Job(entrypoint="fetch_media", tenant_id=held.tenant_id, key=file.message_id) for file in files)


async def _recipient(held: HeldSession) -> Identity:
    """The address that the contact wrote from last; another one of theirs where that is not known any more."""
    contact_id, account_id = held.session.contact_id, held.context.channel_account_id
    found = await mailbox.latest_sender(held.connection, held.tenant_id, contact_id, account_id)
    if found is not None and found.kind == GROUP:
        raise ChangeRefusedError(deferred("This is a group. You can read it here; reply in WhatsApp."))
    if found is not None:
        return found
    known = {one.kind: one for one in await contacts.addresses(held.connection, held.tenant_id, contact_id)}
    kinds = ("email",) if held.context.channel == "email" else ("wa_id", "wa_user_id")
    address = next((known[kind] for kind in kinds if kind in known), None)
    if address is None:
        raise ChangeRefusedError(deferred("There is no address left for this contact."))
    return address
