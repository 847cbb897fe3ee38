"""The catalogue of audit events (product, section 4) has one frozen class for each type.

A class is the schema of its payload: ``type`` is the name on record, ``version`` the schema's version, the
fields are the payload. :data:`CATALOGUE` drives the pages' labels, the docs and a test that demands a golden
scenario of each. Payloads hold no message bodies (only their digest) and no secret parameter values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from dragoman.domain.nouns import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Is the base of all payloads."""

    type: ClassVar[str]
    label: ClassVar[str]
    version: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(Payload):
    """A contact wrote and had no session in progress in this thread."""

    type: ClassVar[str] = "session.opened"
    label: ClassVar[str] = "Session opened"
    channel: str
    previous_session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(Payload):
    """A message of the contact entered the transcript."""

    type: ClassVar[str] = "message.received"
    label: ClassVar[str] = "Message received"
    message_id: str
    kind: str
    content_digest: str
    channel_message_id: str
    channel_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEchoed(Payload):
    """Staff wrote to the contact by another way, as the channel tells: from the app of the business's phone."""

    type: ClassVar[str] = "message.echoed"
    label: ClassVar[str] = "Sent from the phone app"
    message_id: str
    kind: str
    content_digest: str
    channel_message_id: str
    channel_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRevised(Payload):
    """The contact had edited or deleted the message before it was handled; the original stays in the transcript.

    ``how`` is edited or deleted; ``by`` is the channel's id of the edit or deletion. An edited message is handled as
    edited, a deleted one is not handled.
    """

    type: ClassVar[str] = "message.revised"
    label: ClassVar[str] = "Message revised"
    message_id: str
    how: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRedacted(Payload):
    """Something in the message was taken out before it was stored; ``found`` says by rule how often."""

    type: ClassVar[str] = "message.redacted"
    label: ClassVar[str] = "Message redacted"
    message_id: str
    found: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactResolved(Payload):
    """Who is writing: contact, business partner and verification level at this moment."""

    type: ClassVar[str] = "contact.resolved"
    label: ClassVar[str] = "Contact resolved"
    contact_id: str
    level: str
    business_partner: str | None
    locale: str
    language_read: bool = False
    """Whether ``locale`` is known from the contact's texts; else it is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRecognized(Payload):
    """A text said which language the contact writes, for the first time or another one than ``previous``.

    Both are language tags. What is said from here on is in ``language``; ``confidence`` is from 0 to 1.
    """

    type: ClassVar[str] = "language.recognized"
    label: ClassVar[str] = "Language recognized"
    message_id: str
    language: str
    previous: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationEnded(Payload):
    """The contact was confirmed when they last wrote in this session, and is not any more.

    ``cause`` says why that was before its time, empty where it ran out; ``ended_at`` is when, in RFC 3339.
    """

    type: ClassVar[str] = "confirmation.ended"
    label: ClassVar[str] = "Confirmation ended"
    ended_at: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRefused(Payload):
    """A rate limit was hit; the message is kept and not handled."""

    type: ClassVar[str] = "admission.refused"
    label: ClassVar[str] = "Admission refused"
    limit: str
    allowed: int
    window_seconds: float
    contact_told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded(Payload):
    """The session would pass its message budget or its cost budget.

    ``used`` is what it had used before, ``needed`` what came on top: one message, or the price of what was not run.
    """

    type: ClassVar[str] = "budget.exceeded"
    label: ClassVar[str] = "Budget exceeded"
    budget: str
    allowed: int
    used: int
    needed: int = 0
    contact_told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBusy(Payload):
    """The contact has another session in progress, or this one could not be had in time."""

    type: ClassVar[str] = "session.busy"
    label: ClassVar[str] = "Session busy"
    reason: str
    other_session_id: str | None = None
    contact_told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Is one guess of a classifier; ``confidence`` is between 0 and 1."""

    intent: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRan(Payload):
    """A classifier read the message: what it thought possible, best first, against which threshold."""

    type: ClassVar[str] = "classifier.ran"
    label: ClassVar[str] = "Classifier ran"
    classifier: str
    classifier_version: str
    candidates: tuple[Candidate, ...]
    threshold: float
    duration_ms: float
    cost_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFailed(Payload):
    """The tenant's classifier did not answer, and another one read the message in its place.

    ``attempts`` is 0 where it was not asked at all. ``cost_micros`` is what the attempts have cost all the same.
    """

    type: ClassVar[str] = "classifier.failed"
    label: ClassVar[str] = "Classifier failed"
    classifier: str
    classifier_version: str
    error_class: str
    message: str
    duration_ms: float
    attempts: int
    cost_micros: int
    fell_back_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentAssigned(Payload):
    """What the contact wants, and who said so.

    ``source`` is choice, flow, rule, classifier or answer (the reply to a question of ours); ``detail`` names the
    rule, the button or the question in words.
    """

    type: ClassVar[str] = "intent.assigned"
    label: ClassVar[str] = "Intent assigned"
    intent: str
    source: str
    detail: str = ""
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentUnclear(Payload):
    """Nothing fitted well enough; the contact is asked again or handed over."""

    type: ClassVar[str] = "intent.unclear"
    label: ClassVar[str] = "Not understood"
    reason: str
    misses: int
    misses_before_handoff: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterAsked(Payload):
    """A skill needs something that the contact has not said yet, so it is asked for."""

    type: ClassVar[str] = "parameter.asked"
    label: ClassVar[str] = "Parameter asked for"
    skill: str
    parameter: str
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRequired(Payload):
    """The skill demands a higher verification level than the contact has."""

    type: ClassVar[str] = "verification.required"
    label: ClassVar[str] = "Verification required"
    skill: str
    required: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReported(Payload):
    """The contact says that they did not ask for a one-time code: it is void, and they are not confirmed any more.

    ``channel_message_id`` is the channel's id of the message that had the code, where the channel names it.
    """

    type: ClassVar[str] = "code.reported"
    label: ClassVar[str] = "Code not asked for"
    message_id: str
    channel_message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillInvoked(Payload):
    """A skill is about to be called; on record before the call is made."""

    type: ClassVar[str] = "skill.invoked"
    label: ClassVar[str] = "Skill invoked"
    skill: str
    skill_version: str
    attempt: int
    max_attempts: int
    parameters: Mapping[str, Any]
    timeout_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillSucceeded(Payload):
    """The skill answered."""

    type: ClassVar[str] = "skill.succeeded"
    label: ClassVar[str] = "Skill succeeded"
    skill: str
    attempt: int
    duration_ms: float
    cost_micros: int
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillFailed(Payload):
    """An attempt failed: its error class, message and duration."""

    type: ClassVar[str] = "skill.failed"
    label: ClassVar[str] = "Skill failed"
    skill: str
    attempt: int
    error_class: str
    message: str
    duration_ms: float
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRetryScheduled(Payload):
    """Another attempt follows after a pause."""

    type: ClassVar[str] = "skill.retry_scheduled"
    label: ClassVar[str] = "Retry scheduled"
    skill: str
    next_attempt: int
    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRetired(Payload):
    """The skill that was asked for is no longer in the registry."""

    type: ClassVar[str] = "skill.retired"
    label: ClassVar[str] = "Skill retired"
    skill: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStarted(Payload):
    """A flow began."""

    type: ClassVar[str] = "flow.started"
    label: ClassVar[str] = "Flow started"
    flow: str
    flow_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStepEntered(Payload):
    """A flow came to one of its steps."""

    type: ClassVar[str] = "flow.step_entered"
    label: ClassVar[str] = "Flow step entered"
    flow: str
    step: str
    step_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStepFailed(Payload):
    """A step of a flow failed.

    ``collected`` is what the flow's variables held by then, without secrets.
    """

    type: ClassVar[str] = "flow.step_failed"
    label: ClassVar[str] = "Flow step failed"
    version: ClassVar[int] = 2
    flow: str
    step: str
    reason: str
    collected: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCompleted(Payload):
    """A flow reached its end."""

    type: ClassVar[str] = "flow.completed"
    label: ClassVar[str] = "Flow completed"
    flow: str
    flow_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Payload):
    """The session went from one state to the next."""

    type: ClassVar[str] = "state.changed"
    label: ClassVar[str] = "State changed"
    old: str
    new: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeAssigned(Payload):
    """What became of the dispatch, and why."""

    type: ClassVar[str] = "outcome.assigned"
    label: ClassVar[str] = "Outcome assigned"
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffRequested(Payload):
    """The session waits for a human agent from here on.

    ``collected`` is what the contact had told the bot for what they wanted, by parameter or variable, without secrets.
    """

    type: ClassVar[str] = "handoff.requested"
    label: ClassVar[str] = "Handoff requested"
    version: ClassVar[int] = 2
    reason: str
    collected: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffClaimed(Payload):
    """An agent has the session from here on, and nothing of the bot goes out any more.

    ``how`` is claimed, assigned, taken_over (from ``previous``, with a ``reason``) or automatic. ``fence`` is the
    session's token from here on. ``stopped`` are messages of the bot that were waiting to be sent and are not sent now;
    ``under_way`` those that were just being sent, and are not tried again.
    """

    type: ClassVar[str] = "handoff.claimed"
    label: ClassVar[str] = "Handoff claimed"
    agent: str
    agent_id: str = ""
    how: str = "claimed"
    fence: int = 0
    previous: str | None = None
    reason: str = ""
    stopped: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffUnassigned(Payload):
    """The session is back in the queue: ``agent`` gave it back, or was away for too long."""

    type: ClassVar[str] = "handoff.unassigned"
    label: ClassVar[str] = "Given back to the queue"
    agent: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffUnattended(Payload):
    """The session has waited for so long, and nobody has taken it."""

    type: ClassVar[str] = "handoff.unattended"
    label: ClassVar[str] = "Handoff unattended"
    waited_seconds: int
    allowed_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffEnded(Payload):
    """The human part is over, and the bot answers what comes next.

    ``how`` is returned (to the bot), resolved, released (by an administrator), timed_out, ended (with the session) or
    superseded (by another session of the same contact). ``agent`` is who had the session, if anybody.
    """

    type: ClassVar[str] = "handoff.ended"
    label: ClassVar[str] = "Handoff ended"
    how: str
    agent: str | None
    reason: str
    lasted_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAdded(Payload):
    """An agent wrote an internal note; it stands in the transcript, and the contact never gets it."""

    type: ClassVar[str] = "note.added"
    label: ClassVar[str] = "Internal note"
    message_id: str
    content_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffReleased(Payload):
    """An administrator gave the session back to the dispatcher, whoever had it."""

    type: ClassVar[str] = "handoff.released"
    label: ClassVar[str] = "Handoff released"
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent(Payload):
    """A reply was written to the outbox, in the same transaction as this event."""

    type: ClassVar[str] = "message.sent"
    label: ClassVar[str] = "Reply put in the outbox"
    message_id: str
    kind: str
    content_digest: str
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatus(Payload):
    """What the channel said of a message of ours, or why it was not asked.

    ``status`` is sent (the channel took it), delivered, read, played (a voice message) or failed, and moves forward
    only; before that it may be retrying (refused for now), held (waits for the channel or the pace) or skipped (not
    wanted). ``code`` is the channel's own error code.
    """

    type: ClassVar[str] = "message.status"
    label: ClassVar[str] = "Delivery status"
    message_id: str
    status: str
    channel_message_id: str | None = None
    code: int | None = None
    reason: str = ""
    attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FiredDelivery:
    """What a trigger put in the outbox: ``status`` is scheduled, pending or skipped, ``reason`` says why that."""

    outbox_entry_id: str
    channel: str
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerFired(Payload):
    """An automation rule of the tenant answered to what happened in the session; ``trigger_version`` counts from 1."""

    type: ClassVar[str] = "trigger.fired"
    label: ClassVar[str] = "Trigger fired"
    trigger: str
    trigger_version: int
    on: str
    deliveries: tuple[FiredDelivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxChanged(Payload):
    """What became of an entry of the outbox, or what an administrator did with it.

    ``status`` is the entry's new one, in lower case; or resent, for an entry of which ``copy_id`` is a copy. ``by`` is
    the administrator, where it was one. ``trigger`` is the automation that sent it, empty for a reply.
    """

    type: ClassVar[str] = "outbox.changed"
    label: ClassVar[str] = "Outbox entry changed"
    outbox_entry_id: str
    channel: str
    status: str
    trigger: str = ""
    reason: str = ""
    attempts: int | None = None
    code: int | None = None
    by: str = ""
    copy_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOrphaned(Payload):
    """A dispatch lost its session before it completed; what it still finds out is not sent.

    ``skill`` is the one that was being called, by the process that ``worker`` names. Without an ``attempt`` it was in
    the pause before the next one.
    """

    type: ClassVar[str] = "dispatch.orphaned"
    label: ClassVar[str] = "Dispatch orphaned"
    reason: str
    skill: str | None = None
    attempt: int | None = None
    worker: str | None = None
    late_result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRetried(Payload):
    """An administrator had a message dispatched again that had been given up."""

    type: ClassVar[str] = "dispatch.retried"
    label: ClassVar[str] = "Dispatch retried"
    message_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResolved(Payload):
    """The session ended well."""

    type: ClassVar[str] = "session.resolved"
    label: ClassVar[str] = "Session resolved"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExpired(Payload):
    """The contact did not come back in time."""

    type: ClassVar[str] = "session.expired"
    label: ClassVar[str] = "Session expired"
    idle_seconds: int
    allowed_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionTruncated(Payload):
    """Transcript and timeline were removed by the retention rule; the row and this event stay."""

    type: ClassVar[str] = "retention.truncated"
    label: ClassVar[str] = "Truncated by retention"
    retention_days: int
    removed_messages: int
    removed_events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPut(Payload):
    """The session is kept for the law from here on: retention leaves it alone."""

    type: ClassVar[str] = "hold.put"
    label: ClassVar[str] = "Put on legal hold"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLifted(Payload):
    """The session is kept for the law no longer; ``reason`` is what it had been held for."""

    type: ClassVar[str] = "hold.lifted"
    label: ClassVar[str] = "Legal hold lifted"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactErased(Payload):
    """What the session knew of its contact was erased; the events stay, without it.

    ``left`` has, by position, the SHA-256 (hex) of what is left of each event that lost something, in its canonical
    bytes: the seal of such an event is that of what it was. ``messages`` counts those whose content was erased.
    """

    type: ClassVar[str] = "contact.erased"
    label: ClassVar[str] = "Contact erased"
    reason: str
    messages: int
    left: Mapping[str, str]


CATALOGUE: dict[str, type[Payload]] = {
    event.type: event
    for event in (
        SessionOpened,
        MessageReceived,
        MessageEchoed,
        MessageRevised,
        MessageRedacted,
        ContactResolved,
        LanguageRecognized,
        ConfirmationEnded,
        AdmissionRefused,
        BudgetExceeded,
        SessionBusy,
        ClassifierRan,
        ClassifierFailed,
        IntentAssigned,
        IntentUnclear,
        ParameterAsked,
        VerificationRequired,
        CodeReported,
        SkillInvoked,
        SkillSucceeded,
        SkillFailed,
        SkillRetryScheduled,
        SkillRetired,
        FlowStarted,
        FlowStepEntered,
        FlowStepFailed,
        FlowCompleted,
        StateChanged,
        OutcomeAssigned,
        HandoffRequested,
        HandoffClaimed,
        HandoffUnassigned,
        HandoffUnattended,
        HandoffReleased,
        HandoffEnded,
        NoteAdded,
        MessageSent,
        MessageStatus,
        TriggerFired,
        OutboxChanged,
        DispatchOrphaned,
        DispatchRetried,
        SessionResolved,
        SessionExpired,
        RetentionTruncated,
        HoldPut,
        HoldLifted,
        ContactErased,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One entry of a timeline before the ledger gives it its position and its seal.

    ``dispatch_id`` is None for what no inbound message caused (expiry, delivery statuses, administrators).
    """

    at: datetime
    actor: Actor
    payload: Payload
    dispatch_id: UUID | None = None


def payload_json(payload: Payload) -> dict[str, Any]:
    """The payload as it is stored; dataclasses inside become objects, tuples become arrays."""
    return dataclasses.asdict(payload)
