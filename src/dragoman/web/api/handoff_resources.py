"""What the JSON API shows of sessions that are with agents, and reads of them for whoever asks."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from dragoman.dispatch.handoff import REASON_LENGTH
from dragoman.domain.errors import NotFoundError
from dragoman.domain.handoff import Agent, service_level
from dragoman.domain.plain_text import visible_name
from dragoman.ledger.last_messages import LastMessage
from dragoman.runtime import Runtime
from dragoman.services.handoff.read_inbox import WaitingConversation, read_conversation
from dragoman.store.catalogue import skills
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.store.database import Connection
from dragoman.store.handoff.drafts import LENGTH, ReplyDraft
from dragoman.store.sending import service_windows
from dragoman.web import audited_reads
from dragoman.web.auth import Principal
from dragoman.web.http.dependencies import retention_cutoff

NOT_HANDED_OVER = "This conversation was never handed over to an agent."


class SessionContact(BaseModel):
    """Whom the session is with."""

    contact_id: UUID
    name: str
    phone: str | None

    @classmethod
    def of(cls, found: Conversation) -> Self:
        """Show the contact of *found*, which was masked for its reader."""
        return cls(contact_id=found.contact_id, name=visible_name(found.contact_name) or "", phone=found.contact_phone)


class OwnerResource(BaseModel):
    """Who has a session."""

    agent_id: UUID
    name: str

    @classmethod
    def of(cls, owner: Agent | None) -> Self | None:
        """Show *owner*, if there is one."""
        return None if owner is None else cls(agent_id=owner.agent_id, name=owner.name)


class LastMessageResource(BaseModel):
    """What was said last, in one line."""

    sender: str
    sender_name: str
    preview: str
    is_note: bool
    at: datetime

    @classmethod
    def of(cls, last: LastMessage | None) -> Self | None:
        """Show *last*, if anything was said."""
        return None if last is None else cls(
            sender=last.sender.value,
            sender_name=last.sender_name,
            preview=last.preview,
            is_note=last.is_note,
            at=last.at,
        )  # fmt: skip


class HandoffResource(BaseModel):
    """Describes the human part of a session, the latest one."""

    session_id: UUID
    contact: SessionContact
    channel: str
    channel_account_id: UUID
    state: str
    owner: OwnerResource | None = Field(
        description="Who is handling it; null in the queue, and once the handoff has ended"
    )
    escalated_at: datetime
    waiting_since: datetime | None = Field(description="Since when the contact has been waiting for an agent's reply")
    claimed_at: datetime | None
    answered_at: datetime | None = Field(description="The first reply of an agent")
    ended_at: datetime | None
    service_level: str = Field(description="good, soon (over 80 % of the target), late, or none")
    last_message: LastMessageResource | None
    unread: int = Field(description="Messages the current user has not read")
    window_until: datetime | None = Field(
        description="When the contact's customer service window closes or closed: after that templates only"
    )


class HandoffPage(BaseModel):
    """Holds a part of the queue, the longest-waiting first."""

    items: list[HandoffResource]
    next_cursor: str | None


class DraftResource(BaseModel):
    """What an agent has begun to write."""

    agent: OwnerResource
    text: str
    is_note: bool
    is_shared: bool
    changed_at: datetime

    @classmethod
    def of(cls, draft: ReplyDraft) -> Self:
        """Show *draft*."""
        return cls(
            agent=OwnerResource(agent_id=draft.agent_id, name=draft.agent_name),
            text=draft.body,
            is_note=draft.is_note,
            is_shared=draft.is_shared,
            changed_at=draft.changed_at,
        )


class DraftsResource(BaseModel):
    """Holds the reader's own draft, and those that colleagues show them."""

    mine: DraftResource | None
    shared: list[DraftResource]


class NewDraft(BaseModel):
    """Brings what was written so far; an empty text is forgotten."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=LENGTH)
    is_note: bool = False
    is_shared: bool = False


class GivenReason(BaseModel):
    """Says why; it stands on record."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=REASON_LENGTH, pattern=r"\S")


async def show_all(
    runtime: Runtime, connection: Connection, identity: Principal, found: list[WaitingConversation]
) -> list[HandoffResource]:
    """The rows as *identity* may see them."""
    now, tenant_id = runtime.clock.now(), identity.tenant_id
    conversations = [one.conversation for one in found]
    masks = await identity.visibility.masks(connection, tenant_id, [one.contact_id for one in conversations])
    threads = [(one.contact_id, one.channel_account_id) for one in conversations if one.channel == "whatsapp"]
    windows = await service_windows.all_close_at(connection, tenant_id, threads, now=now)
    target = (await skills.dispatch_rules(connection, tenant_id)).policy.handoff.target_seconds
    shown = []
    for one in found:
        masked, human, conversation = identity.visibility.waiting(one, masks), one.handoff, one.conversation
        shown.append(
            HandoffResource(
                session_id=conversation.session_id,
                contact=SessionContact.of(masked.conversation),
                channel=conversation.channel,
                channel_account_id=conversation.channel_account_id,
                state=conversation.state.value,
                owner=OwnerResource.of(human.owner),
                escalated_at=human.escalated_at,
                waiting_since=human.waiting_since,
                claimed_at=human.claimed_at,
                answered_at=human.answered_at,
                ended_at=human.ended_at,
                service_level=service_level(human.waiting_since, target, now),
                last_message=LastMessageResource.of(masked.last),
                unread=one.unread,
                window_until=windows.get((conversation.contact_id, conversation.channel_account_id)),
            )
        )
    return shown


async def found_handoff(
    runtime: Runtime, connection: Connection, identity: Principal, session_id: UUID
) -> WaitingConversation:
    """The human part of that session, of which *identity* is about to see something. Raises NotFoundError."""
    since = retention_cutoff(runtime, identity.retention_days)
    found = await read_conversation(connection, identity.tenant_id, identity.actor_id, session_id, since=since)
    if found is None:
        raise NotFoundError(NOT_HANDED_OVER)
    await audited_reads.opened(runtime, connection, identity, found.conversation)
    return found


async def show(runtime: Runtime, identity: Principal, session_id: UUID) -> HandoffResource:
    """The human part of that session as *identity* may see it. Raises NotFoundError."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await found_handoff(runtime, connection, identity, session_id)
        return (await show_all(runtime, connection, identity, [found]))[0]
