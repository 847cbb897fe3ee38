"""One conversation with every kind of content and every type of event, written by the ledger's own writer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.domain import events as e
from dragoman.domain.content import Content
from dragoman.domain.nouns import DISPATCHER, SYSTEM, Actor, ActorKind, Identity, Sender, Session, TranscriptItem
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.ledger import append
from dragoman.ledger.append import Context
from dragoman.services.media.fetch_media import fetch_media
from dragoman.store import media
from dragoman.store.contacts import contacts, identities
from tests.browser import everything
from tests.browser.people import BrowserPerson
from tests.browser.records import with_context

if TYPE_CHECKING:
    from tests.harness import Harness

CHANGES = (
    (State.OPEN, State.ACTIVE, "a message came"),
    (State.ACTIVE, State.PROCESSING, "a skill runs"),
    (State.PROCESSING, State.ACTIVE, "the skill answered"),
    (State.ACTIVE, State.WITH_AGENT, "two attempts failed"),
    (State.WITH_AGENT, State.ACTIVE, "given back"),
    (State.ACTIVE, State.RESOLVED, "the contact said thanks"),
)


def payloads(message_id: str = "0190f2c4-0000-7000-8000-000000000001") -> list[e.Payload]:
    """A plausible payload of every type of the catalogue, in an order that could have happened."""
    told: dict[str, Any] = {"message_id": message_id, "content_digest": "0" * 64}
    guesses = tuple(
        e.Candidate(intent=name, confidence=sure)
        for name, sure in (("orders.return", 0.81), ("orders.status", 0.11), ("support.warranty", 0.04))
    )
    skill: dict[str, Any] = {"skill": "orders.return", "attempt": 1}
    return [
        e.SessionOpened(channel="WhatsApp", previous_session_id=None),
        e.StateChanged(old="OPEN", new="ACTIVE", reason="a message came"),
        e.MessageReceived(**told, kind="text", channel_message_id="wamid.1", channel_at="2026-11-23T08:00:00Z"),
        e.MessageEchoed(
            message_id="m3", kind="text", content_digest="d", channel_message_id="wamid.7", channel_at="2026-11-23"
        ),
        e.MessageRevised(message_id="m1", how="edited", by="wamid.8"),
        e.ContactResolved(contact_id="c", level="PHONE_MATCHED", business_partner="BP-1001 Elektro Huber", locale="es"),
        e.LanguageRecognized(message_id=message_id, language="en", previous="es", confidence=0.98),
        e.ConfirmationEnded(ended_at="2026-11-23T08:00:00+00:00", cause="their number changed"),
        e.AdmissionRefused(limit="messages per contact", allowed=20, window_seconds=60.0, contact_told=True),
        e.BudgetExceeded(budget="cost", allowed=500_000, used=512_000),
        e.SessionBusy(reason="the contact has a session in progress on another number", other_session_id="x"),
        e.ClassifierRan(
            classifier="local",
            classifier_version="7f3a91",
            candidates=guesses,
            threshold=0.5,
            duration_ms=1.7,
            cost_micros=0,
        ),
        e.ClassifierFailed(
            classifier="model",
            classifier_version="gpt-4o-mini 0f3c9a1b2d4e",
            error_class="ModelTimedOutError",
            message="api.example.com gave no whole answer within 4 seconds",
            duration_ms=4001.2,
            attempts=2,
            cost_micros=310,
            fell_back_to="local",
        ),
        e.IntentAssigned(intent="orders.return", source="classifier", detail="local 7f3a91", confidence=0.81),
        e.IntentUnclear(reason="the best guess is below the threshold", misses=1, misses_before_handoff=3),
        e.ParameterAsked(skill="orders.return", parameter="order_number", asked=1),
        e.CodeReported(message_id="m-1", channel_message_id="wamid.CODE"),
        e.VerificationRequired(skill="finance.ar_balance", required="PHONE_MATCHED", actual="UNVERIFIED"),
        e.StateChanged(old="ACTIVE", new="PROCESSING", reason="a skill runs"),
        e.SkillInvoked(
            **skill,
            skill_version="1.4.0",
            max_attempts=3,
            parameters={"order_number": "VF-48213", "pin": "•••"},
            timeout_seconds=10.0,
        ),
        e.SkillFailed(
            **skill,
            error_class="RetryableError",
            message="returns.voltfair.example answered 502 Bad Gateway",
            duration_ms=3020.0,
            retryable=True,
        ),
        e.SkillRetryScheduled(skill="orders.return", next_attempt=2, delay_seconds=0.5),
        e.SkillSucceeded(
            skill="orders.return", attempt=2, duration_ms=412.0, cost_micros=400, result={"label": "RT-2291"}
        ),
        e.MessageRedacted(message_id=message_id, found={"card": 1, "member number": 2}),
        e.StateChanged(old="PROCESSING", new="ACTIVE", reason="the skill answered"),
        e.SkillRetired(skill="orders.gift_wrap"),
        e.FlowStarted(flow="return_goods", flow_version=4),
        e.FlowStepEntered(flow="return_goods", step="ask_photo", step_type="prompt"),
        e.FlowStepFailed(flow="return_goods", step="check_policy", reason="no such variable: order_date"),
        e.FlowCompleted(flow="return_goods", flow_version=4),
        e.MessageSent(**told, kind="options", sender="bot"),
        e.MessageStatus(message_id=message_id, status="delivered", channel_message_id="wamid.2"),
        e.MessageStatus(
            message_id=message_id, status="failed", code=131026, reason="Message undeliverable", attempts=2
        ),
        e.TriggerFired(
            trigger="tell_shop",
            trigger_version=2,
            on="outcome",
            deliveries=(
                e.FiredDelivery(outbox_entry_id=message_id, channel="email", status="pending"),
                e.FiredDelivery(
                    outbox_entry_id=message_id, channel="email", status="skipped", reason="The contact has no address."
                ),
            ),
        ),
        e.OutboxChanged(
            outbox_entry_id=message_id,
            channel="email",
            status="failed",
            trigger="tell_shop",
            attempts=1,
            code=550,
            reason="The mail server does not take mail for this recipient (code 550)",
        ),
        e.OutboxChanged(outbox_entry_id=message_id, channel="email", status="resent", by="Ada", copy_id=message_id),
        e.StateChanged(old="ACTIVE", new="WITH_AGENT", reason="two attempts failed"),
        e.HandoffRequested(reason="the contact asked for a person"),
        e.HandoffUnattended(waited_seconds=700, allowed_seconds=600),
        e.HandoffClaimed(
            agent="Ana Lima", agent_id="a1", how="claimed", fence=1, stopped=(message_id,), under_way=("m2",)
        ),
        e.NoteAdded(**told),
        e.HandoffUnassigned(agent="Ana Lima", reason="end of the shift"),
        e.HandoffClaimed(
            agent="Bo Berg", agent_id="a2", how="taken_over", fence=2, previous="Ana Lima", reason="she is away"
        ),
        e.HandoffReleased(by="Rui Costa", reason="claimed by mistake"),
        e.HandoffEnded(how="released", agent="Bo Berg", reason="released by Rui Costa", lasted_seconds=900),
        e.StateChanged(old="WITH_AGENT", new="ACTIVE", reason="given back"),
        e.DispatchOrphaned(reason="the worker died", skill="orders.return", attempt=2, late_result="RT-2291"),
        e.DispatchRetried(message_id=message_id, by="Ada"),
        e.SessionExpired(idle_seconds=1860, allowed_seconds=1800),
        e.RetentionTruncated(retention_days=90, removed_messages=12, removed_events=40),
        e.HoldPut(reason="lawsuit 12/2026"),
        e.HoldLifted(reason="lawsuit 12/2026"),
        e.ContactErased(reason="request 7/2026", messages=0, left={}),
        e.OutcomeAssigned(outcome="SUCCESS", reason="orders.return answered"),
        e.StateChanged(old="ACTIVE", new="RESOLVED", reason="the contact said thanks"),
        e.SessionResolved(reason="the contact said thanks"),
    ]


@dataclass
class Wall:
    """Hangs one message after the other, seven seconds apart."""

    made: Harness
    at: datetime
    dispatch_id: UUID
    hung: list[TranscriptItem] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def hang(self, sender: Sender, content: Content, **more: Any) -> str:
        """Add it; returns the channel's id of it."""
        self.at += timedelta(seconds=7)
        name = {Sender.CONTACT: "Tomás Aguirre", Sender.AGENT: "Ana Lima", Sender.BOT: ""}[sender]
        wamid = f"wamid.gallery{next(self.numbers)}"
        self.hung.append(
            TranscriptItem(
                message_id=self.made.runtime.source.new_id(),
                sender=sender,
                sender_name=name,
                content=content,
                at=self.at,
                channel_message_id=wamid,
                **with_context(more),
            )
        )
        return wamid


async def hang(made: Harness, person: BrowserPerson) -> UUID:
    """Write the conversation, with its files; returns its session's id."""
    files = await everything.upload(made)
    new_id, now = made.runtime.source.new_id, made.clock.now()
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        contact_id = await identities.resolve(
            connection,
            made.tenant_id,
            (Identity(kind="wa_id", value=person.phone),),
            display_name=person.name,
            phone=f"+{person.phone}",
            locale="es",
            now=now,
            new_id=new_id,
        )
        thread_id = await contacts.thread(
            connection, made.tenant_id, contact_id, made.channel_account_id, now=now, new_id=new_id
        )
        wall = Wall(made, now - timedelta(minutes=20), new_id())
        wanted = everything.write(wall, files)
        session = Session(
            session_id=new_id(),
            thread_id=thread_id,
            contact_id=contact_id,
            state=State.RESOLVED,
            outcome=Outcome.SUCCESS,
            outcome_reason="orders.return answered on its second attempt",
            intent="orders.return",
            skill="orders.return",
            started_at=now - timedelta(minutes=20),
            last_activity_at=now,
            resolved_at=now,
            last_user_message="¡Gracias! 🙏",
            error_count=3,
            dispatch_count=1,
            cost_micros=400,
            agent_name="Ana Lima",
        )
        turn = Turn(session=session, events=tuple(_events(wall, session)), transcript=tuple(wall.hung), final=True)
        context = Context(
            channel_account_id=made.channel_account_id,
            channel="whatsapp",
            channel_display="+43 1 555 0100",
            contact_name=person.name,
            contact_phone=f"+{person.phone}",
            business_partner_id=None,
            business_partner_name=None,
        )
        await append.write_turn(
            connection, made.tenant_id, turn, context, dispatch_id=wall.dispatch_id, trace_id="4bf92f3577b34da6"
        )
        await media.insert_requests(connection, made.tenant_id, wanted)
    for file in wanted:
        await fetch_media(made.runtime, made.tenant_id, file.message_id)
    await everything.take_away(made, wanted)
    return session.session_id


def _events(wall: Wall, session: Session) -> Iterator[e.AuditEvent]:
    at = session.started_at
    agent = Actor(ActorKind.AGENT, "Ana Lima")
    for payload in payloads(str(wall.hung[0].message_id)):
        at += timedelta(seconds=23)
        beside = isinstance(
            payload,
            e.MessageStatus
            | e.TriggerFired
            | e.OutboxChanged
            | e.SessionExpired
            | e.RetentionTruncated
            | e.HoldPut
            | e.HoldLifted
            | e.ContactErased,
        )
        yield e.AuditEvent(
            at=at,
            actor=SYSTEM if beside else agent if isinstance(payload, e.HandoffClaimed) else DISPATCHER,
            payload=payload,
            dispatch_id=None if beside else wall.dispatch_id,
        )
