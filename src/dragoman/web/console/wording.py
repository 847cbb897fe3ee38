"""Says what the pages call things: states, outcomes, and every type of audit event, in plain language.

The only place for such words. A test walks the catalogue of events, the states and the outcomes and demands an
entry of each. A sentence is built from the payload as it was stored, so each tolerates fields of an older schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from dragoman.domain.nouns import DEFAULT_CURRENCY, Level
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import without_isolates
from dragoman.domain.plurals import counted, times
from dragoman.domain.states import State
from dragoman.ledger.pages import EventFilter
from dragoman.translations import markup
from dragoman.web.console.formatting import duration, language, milliseconds, money, percent, person


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWords:
    """A state's name and its pill: ``hollow`` draws an empty dot, ``breathing`` a moving one."""

    label: str
    hue: str
    hollow: bool = False
    breathing: bool = False

    @property
    def look(self) -> str:
        """Names the classes of its pill."""
        return " ".join([self.hue, *(["hollow"] if self.hollow else []), *(["breathing"] if self.breathing else [])])


STATES: dict[str, StateWords] = {
    State.OPEN: StateWords(label="Open", hue="green"),
    State.ACTIVE: StateWords(label="Active", hue="green"),
    State.AWAITING_USER: StateWords(label="Awaiting user", hue="amber"),
    State.PROCESSING: StateWords(label="Processing", hue="blue", breathing=True),
    State.WITH_AGENT: StateWords(label="With agent", hue="red"),
    State.RESOLVED: StateWords(label="Resolved", hue="gray"),
    State.EXPIRED: StateWords(label="Expired", hue="gray", hollow=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeWords:
    """Holds an outcome's name, its tag, and what it means in one sentence (docs/outcomes.md)."""

    label: str
    hue: str
    icon: str
    meaning: str


OUTCOMES: dict[str, OutcomeWords] = {
    Outcome.IN_PROGRESS: OutcomeWords(
        label="In Progress",
        hue="gray",
        icon="loader",
        meaning="No final outcome yet: the conversation is still being handled.",
    ),
    Outcome.SUCCESS: OutcomeWords(
        label="Success",
        hue="green",
        icon="circle-check",
        meaning="A skill or a whole flow ran successfully and the contact got an answer.",
    ),
    Outcome.SKILL_ERROR: OutcomeWords(
        label="Skill Error",
        hue="red",
        icon="circle-x",
        meaning="A skill still failed after its last retry.",
    ),
    Outcome.SKILL_RETIRED: OutcomeWords(
        label="Skill Retired",
        hue="gray",
        icon="archive",
        meaning="The requested skill is no longer in the registry.",
    ),
    Outcome.PARTIAL_FLOW_FAILURE: OutcomeWords(
        label="Partial Flow Failure",
        hue="orange",
        icon="split",
        meaning="A flow got under way, then one of its later steps failed.",
    ),
    Outcome.BUDGET_EXCEEDED: OutcomeWords(
        label="Budget Exceeded",
        hue="amber",
        icon="wallet",
        meaning="The session used up its message budget or its cost budget.",
    ),
    Outcome.HANDOFF: OutcomeWords(
        label="Handoff",
        hue="violet",
        icon="headset",
        meaning="Escalated to an agent by a flow, a menu, or because the bot repeatedly did not understand.",
    ),
    Outcome.SESSION_BUSY: OutcomeWords(
        label="Session Busy",
        hue="teal",
        icon="lock",
        meaning="The contact has a session in progress elsewhere, or an earlier message took too long.",
    ),
    Outcome.DISPATCH_ORPHANED: OutcomeWords(
        label="Dispatch Orphaned",
        hue="pink",
        icon="unlink",
        meaning="The worker was lost before it finished; a late result is recorded but not sent.",
    ),
    Outcome.RATE_LIMITED: OutcomeWords(
        label="Rate Limited",
        hue="amber",
        icon="gauge",
        meaning="Too many messages came in at once, so this one was not handled.",
    ),
    Outcome.TO_AGENT: OutcomeWords(
        label="To Agent",
        hue="violet",
        icon="user-round",
        meaning="Routed straight to an agent without trying a skill: by request or by a routing rule.",
    ),
    Outcome.VERIFICATION_REQUIRED: OutcomeWords(
        label="Verification Required",
        hue="blue",
        icon="shield-alert",
        meaning="The skill requires a higher verification level than the contact has.",
    ),
    Outcome.NONE: OutcomeWords(
        label="None",
        hue="gray",
        icon="circle-dashed",
        meaning="The session ended before anything was classified or run; usually it expired.",
    ),
}

LEVELS = {level.name: level.label for level in Level}

SOURCES = {
    "choice": "The contact's choice",
    "flow": "The flow",
    "rule": "A rule",
    "classifier": "The classifier",
    "answer": "Answer to the bot's question",
}

KINDS = {
    "text": "a text",
    "media": "a file",
    "image": "an image",
    "video": "a video",
    "audio": "an audio file",
    "voice": "a voice message",
    "document": "a document",
    "sticker": "a sticker",
    "location": "a location",
    "contacts": "contact cards",
    "reaction": "a reaction",
    "choice": "a tapped option",
    "form": "a filled-in form",
    "order": "an order",
    "payment": "a payment notice",
    "code_report": "a report of a code that they did not request",
    "system": "a notice from the channel",
    "edit": "an edit of an earlier message",
    "revoke": "the deletion of an earlier message",
    "unsupported": "an unsupported message",
    "erased": "an erased message",
    "note": "an internal note",
    "options": "options to choose from",
    "link": "a link button",
    "request": "a request button",
    "template": "a template",
}

MEDIA = {
    "image": ("Image", "image"),
    "video": ("Video", "video"),
    "audio": ("Audio", "music"),
    "voice": ("Voice message", "mic"),
    "document": ("Document", "file-text"),
    "sticker": ("Sticker", "sticker"),
}

SENDERS = {"contact": "Contact", "bot": "Bot", "agent": "Agent"}
"""Who wrote a message."""

CHANNELS = {"whatsapp": "WhatsApp", "email": "Email"}

OUTBOX_CHANNELS = {**CHANNELS, "webhook": "Webhook"}
"""What the outbox sends by."""

ENTRY_STATUSES: dict[str, StateWords] = {
    OutboxStatus.SCHEDULED: StateWords(label="Scheduled", hue="violet"),
    OutboxStatus.PENDING: StateWords(label="Pending", hue="blue"),
    OutboxStatus.RETRYING: StateWords(label="Retrying", hue="amber"),
    OutboxStatus.SENT: StateWords(label="Sent", hue="green"),
    OutboxStatus.FAILED: StateWords(label="Failed", hue="red"),
    OutboxStatus.SKIPPED: StateWords(label="Skipped", hue="gray", hollow=True),
    OutboxStatus.CANCELLED: StateWords(label="Cancelled", hue="gray"),
}
"""What the status of an entry of the outbox is called, and its pill."""

ATTEMPT_RESULTS = {
    "accepted": ("Accepted", "green"),
    "refused": ("Refused", "red"),
    "unanswered": ("No answer", "amber"),
}
"""What the result of an attempt is called, and its colour."""

ACTORS = {"dispatcher": "Dispatcher", "agent": "Agent", "administrator": "Administrator", "system": "System"}

MAY_BE_DUPLICATE = "Possibly sent twice: an earlier attempt was never answered"

DELIVERIES = {
    "queued": ("clock", "waiting to be sent"),
    "sent": ("check", "sent"),
    "delivered": ("check-check", "delivered"),
    "read": ("check-check", "read"),
    "played": ("check-check", "played"),
    "failed": ("circle-alert", "not delivered"),
}


ACTOR = "_actor"
"""Where the facts of an event have the name of whoever did it; no payload has a field of that name."""

LANGUAGE_FROM = "_language_from"
"""Where they have how the contact's language became known."""

CURRENCY = "_currency"
"""Where they have what the tenant counts costs in."""

NEWEST_FLOWS = "_newest_flows"
"""Where they have the current version of each flow by its name."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Facts(dict[str, Any]):
    """A payload whose missing fields read as a dash, so that an old schema breaks no page."""

    def __missing__(self, key: str) -> str:
        return "–"


Sentence = Callable[[Facts], Markup]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWords:
    """How one type of event is told.

    ``title`` and ``detail`` make a line each from the payload; ``hue`` colours its icon, empty for none; ``about``
    names the filters of the timeline that keep it (skill, error, warning).
    """

    icon: str
    title: Sentence
    detail: Sentence
    hue: str = ""
    about: str = ""


def _say(template: str, *names: str) -> Sentence:
    """A sentence with payload fields in its places, escaped."""
    markup = Markup(template)  # noqa: S704 - our own constants below
    return lambda facts: markup.format(*(facts[name] for name in names))


def _named(names: Mapping[str, str], value: object, other: str = "{}") -> str:
    """What *names* calls *value*; the value itself, in *other*, where it has no name."""
    return names.get(str(value), other.format(value))


def _nothing(_facts: Facts) -> Markup:
    return Markup("")


def _message_received(facts: Facts) -> Markup:
    return Markup("The contact sent {}").format(_named(KINDS, facts["kind"]))


def _message_echoed(facts: Facts) -> Markup:
    return Markup("Staff sent {} from the WhatsApp app on the business phone").format(_named(KINDS, facts["kind"]))


def _message_revised(facts: Facts) -> Markup:
    if facts["how"] == "deleted":
        return Markup("The contact deleted it before it was handled, so it was not handled")
    return Markup("The contact edited it before it was handled; the edited version was handled")


def _message_sent(facts: Facts) -> Markup:
    agent = person(str(facts[ACTOR])) if facts.get(ACTOR) else "An agent"
    who = {"bot": "The dispatcher", "agent": agent}.get(str(facts["sender"]), facts["sender"])
    return Markup("{} wrote {}").format(who, _named(KINDS, facts["kind"]))


def _contact(facts: Facts) -> Markup:
    partner = facts.get("business_partner")
    level = _named(LEVELS, facts["level"])
    if partner:
        name = without_isolates(str(partner))
        known = Markup("Business partner <bdi><b>{}</b></bdi>").format(name)
    else:
        known = Markup("No matching business partner")
    spoken = Markup(" · Language: {}").format(language(facts["locale"])) if facts["locale"] else Markup("")
    if spoken and facts.get(LANGUAGE_FROM):
        spoken += Markup(", {}").format(facts[LANGUAGE_FROM])
    return known + Markup(" · {}").format(level) + spoken


def _confirmation_ended(facts: Facts) -> Markup:
    if facts["cause"]:
        return markup("The contact’s confirmation was withdrawn: %(cause)s", cause=facts["cause"])
    return markup("The contact’s confirmation ran out")


def _opened(facts: Facts) -> Markup:
    channel = _named(CHANNELS, facts["channel"])
    previous = str(facts.get("previous_session_id") or "")
    if not previous:
        return Markup("On {}; the first session in this thread").format(channel)
    earlier = Markup("earlier session")
    if _UUID.fullmatch(previous):
        earlier = Markup('<a href="/communications/automation/logs/{}">earlier session</a>').format(previous)
    return Markup("On {}; follows an {} in this thread").format(channel, earlier)


def _refused(facts: Facts) -> Markup:
    told = "the contact was notified" if facts.get("contact_told") else "the contact was not notified again"
    return Markup("Limit <code>{}</code>: {} per {} · {}").format(
        facts["limit"], facts["allowed"], _seconds(facts["window_seconds"]), told
    )


def _money(facts: Facts, micros: int) -> str:
    return money(micros, str(facts.get(CURRENCY) or DEFAULT_CURRENCY))


def _cost(facts: Facts) -> Markup:
    """What a step cost, to stand after what it did; nothing where it was free."""
    cost = facts.get("cost_micros")
    return Markup(" · cost {}").format(_money(facts, cost)) if isinstance(cost, int) and cost else Markup("")


def _budget(facts: Facts) -> Markup:
    allowed, used = facts["allowed"], facts["used"]
    if facts["budget"] == "cost" and isinstance(allowed, int) and isinstance(used, int):
        allowed, used = _money(facts, allowed), _money(facts, used)
    return Markup("{} budget: {} of {} used").format(str(facts["budget"]).capitalize(), used, allowed)


def _classified(facts: Facts) -> Markup:
    paid = _cost(facts)
    return Markup("Model <code>{} {}</code>, threshold {} · {}{}").format(
        facts["classifier"],
        facts["classifier_version"],
        percent(facts["threshold"]),
        milliseconds(facts["duration_ms"]),
        paid,
    )


def _fell_back(facts: Facts) -> Markup:
    return Markup("Classifier <code>{}</code> did not answer; <code>{}</code> was used instead").format(
        facts["classifier"], facts["fell_back_to"]
    )


def _classifier_failed(facts: Facts) -> Markup:
    attempts = facts["attempts"]
    tried = "not called" if attempts == 0 else f"tried {times(attempts)}" if isinstance(attempts, int) else "tried"
    paid = _cost(facts)
    return Markup("<code>{}</code> · {}: {} · {} · {}{}").format(
        facts["classifier_version"],
        facts["error_class"],
        facts["message"],
        tried,
        milliseconds(facts["duration_ms"]),
        paid,
    )


def _intent(facts: Facts) -> Markup:
    source = _named(SOURCES, facts["source"])
    parts = [Markup("{}").format(source)]
    if facts.get("detail"):
        parts.append(Markup("{}").format(facts["detail"]))
    if facts.get("confidence") is not None:
        parts.append(Markup("confidence {}").format(percent(facts["confidence"])))
    return Markup(" · ").join(parts)


def _invoked(facts: Facts) -> Markup:
    return Markup("version {} · attempt {} of {} · time-out {}").format(
        facts["skill_version"], facts["attempt"], facts["max_attempts"], _seconds(facts["timeout_seconds"])
    )


def _succeeded(facts: Facts) -> Markup:
    paid = _cost(facts)
    return Markup("Answered in {} · attempt {}{}").format(milliseconds(facts["duration_ms"]), facts["attempt"], paid)


def _failed(facts: Facts) -> Markup:
    again = "retryable" if facts.get("retryable") else "not retryable"
    return Markup('<code>{}</code>: <span class="why">{}</span> · attempt {} · after {} · {}').format(
        facts["error_class"], facts["message"], facts["attempt"], milliseconds(facts["duration_ms"]), again
    )


def _asked(facts: Facts) -> Markup:
    return Markup("Required by <code>{}</code> · asked {}").format(facts["skill"], _times(facts["asked"]))


def _verification(facts: Facts) -> Markup:
    return Markup("<code>{}</code> requires {}; the contact is {}").format(
        facts["skill"],
        _named(LEVELS, facts["required"]),
        _named(LEVELS, facts["actual"]),
    )


def _status_title(facts: Facts) -> Markup:
    words = {
        "sent": "Accepted by WhatsApp",
        "delivered": "Message delivered",
        "read": "Message read",
        "played": "Voice message played",
        "failed": "Message not delivered",
        "retrying": "Not sent yet; will be retried",
        "held": "On hold, not sent yet",
        "skipped": "Skipped, not sent",
    }
    return Markup("{}").format(words.get(str(facts["status"]), f"Delivery status {facts['status']}"))


def _status(facts: Facts) -> Markup:
    parts = []
    if facts.get("code") is not None:
        parts.append(Markup("<code>{}</code>").format(facts["code"]))
    if facts.get("reason"):
        parts.append(Markup('<span class="why">{}</span>').format(facts["reason"]))
    if isinstance(facts.get("attempts"), int) and facts["attempts"] > 1:
        parts.append(Markup("after {}").format(_counted(facts["attempts"], "attempt", "attempts")))
    return Markup(" · ").join(parts)


def _orphaned(facts: Facts) -> Markup:
    parts = [Markup('<span class="why">{}</span>').format(facts["reason"])]
    if facts.get("skill"):
        words = "was running" if facts.get("attempt") else "was being called"
        parts.append(Markup("while <code>{}</code> {}").format(facts["skill"], words))
    if facts.get("worker"):
        parts.append(Markup("worker <code>{}</code>").format(facts["worker"]))
    if facts.get("late_result"):
        parts.append(Markup("late result: {}").format(facts["late_result"]))
    return Markup(" · ").join(parts)


def _expired(facts: Facts) -> Markup:
    return Markup("Inactive for {} (limit {})").format(
        _seconds(facts["idle_seconds"]), _seconds(facts["allowed_seconds"])
    )


_REDACTED = {"card": "card number", "iban": "bank account", "token": "access token"}


def _redacted(facts: Facts) -> Markup:
    found = facts["found"]
    if not isinstance(found, Mapping):
        return Markup("{}").format(found)
    return Markup(", ").join(
        Markup("{} × {}").format(number, _REDACTED.get(rule, rule)) for rule, number in sorted(found.items())
    )


def _contact_erased(facts: Facts) -> Markup:
    events = facts["left"]
    return Markup("{}: {} deleted, and personal data in {}").format(
        facts["reason"],
        _counted(facts["messages"], "message", "messages"),
        _counted(len(events) if isinstance(events, Mapping) else events, "event", "events"),
    )


def _step_failed(facts: Facts) -> Markup:
    told = Markup('<span class="why">{}</span> · flow <code>{}</code>').format(facts["reason"], facts["flow"])
    return (
        told + Markup(" · collected so far:")
        if isinstance(facts.get("collected"), dict) and facts["collected"]
        else told
    )


def _flow_started(facts: Facts) -> Markup:
    began, newest = facts["flow_version"], (facts.get(NEWEST_FLOWS) or {}).get(str(facts["flow"]))
    if newest is None or newest == began:
        return Markup("version {}").format(began)
    return Markup("version {}; newest is {}; this session stays on its own").format(began, newest)


def _counted(value: object, one: str, other: str) -> str:
    return counted(value, one, other) if isinstance(value, int) else f"{value} {other}"


def _times(value: object) -> str:
    return {1: "once", 2: "twice"}.get(value, f"{value} times") if isinstance(value, int) else f"{value} times"


def _busy(facts: Facts) -> Markup:
    return Markup("{}").format(facts["reason"])


def _seconds(value: object) -> str:
    return duration(float(value)) if isinstance(value, int | float) else "–"


_TAKEN = {
    "claimed": "{} claimed the conversation",
    "assigned": "Assigned to {}",
    "automatic": "Assigned to {} automatically",
    "taken_over": "{} took over",
}
_ENDED = {
    "returned": "Returned to the bot",
    "resolved": "Handoff ended: resolved by the agent",
    "released": "Handoff ended: released by an administrator",
    "timed_out": "Handoff timed out",
    "ended": "Handoff ended with the conversation",
    "superseded": "Handoff continues in another conversation",
}


def _claimed_title(facts: Facts) -> Markup:
    return Markup(_TAKEN.get(str(facts["how"]), "{} took over")).format(person(str(facts["agent"])))  # noqa: S704 - ours


def _claimed(facts: Facts) -> Markup:
    stopped, under_way = (
        len(facts[name]) if isinstance(facts.get(name), list) else 0 for name in ("stopped", "under_way")
    )
    said = [Markup("the bot sends nothing from here on (fence {})").format(facts["fence"])]
    if facts.get("previous"):
        said.insert(0, Markup("from {}").format(person(str(facts["previous"]))))
    if facts.get("reason"):
        said.insert(0, Markup("{}").format(facts["reason"]))
    if stopped:
        said.append(Markup("{} not sent").format(counted(stopped, "reply was", "replies were")))
    if under_way:
        what = counted(under_way, "reply was", "replies were")
        said.append(Markup("{} already being sent and will not be retried").format(what))
    return Markup(" · ").join(said)


def _unattended(facts: Facts) -> Markup:
    return Markup("Waiting for {} (limit {})").format(
        _seconds(facts["waited_seconds"]), _seconds(facts["allowed_seconds"])
    )


def _handoff_ended_title(facts: Facts) -> Markup:
    return Markup("{}").format(_named(_ENDED, facts["how"]))


def _handoff_ended(facts: Facts) -> Markup:
    who = (
        Markup("Handled by {} · ").format(person(str(facts["agent"])))
        if facts.get("agent")
        else Markup("No agent took it · ")
    )
    return who + Markup("lasted {} · {}").format(_seconds(facts["lasted_seconds"]), facts["reason"])


_FIRED_ON = {
    "resolved": "the conversation was resolved",
    "expired": "the conversation expired",
    "outcome": "a dispatch ended with this outcome",
    "handoff_waiting": "it waited too long for an agent",
    "channel_stopped": "the channel was stopped",
    "job_given_up": "a job failed for good",
    "request": "requested through the API",
    "schedule": "on schedule",
}


def _trigger_title(facts: Facts) -> Markup:
    return Markup("Trigger fired: <code>{}</code>").format(facts["trigger"])


def _trigger_fired(facts: Facts) -> Markup:
    deliveries = facts["deliveries"]
    said = [Markup("{}").format(_named(_FIRED_ON, facts["on"]))]
    if isinstance(deliveries, list):
        going = [one for one in deliveries if one.get("status") != "skipped"]
        if going:
            said.append(Markup("{} queued").format(counted(len(going), "message", "messages")))
        said += [Markup("not sent: {}").format(one.get("reason")) for one in deliveries if one not in going]
    return Markup(" · ").join(said)


_OUTBOX_STATUSES = {
    "sent": "Message accepted by the server",
    "failed": "Message failed",
    "retrying": "Message will be retried",
    "held": "Message on hold",
    "skipped": "Message not sent",
    "cancelled": "Message cancelled",
    "resent": "Message sent again",
}


def _outbox_title(facts: Facts) -> Markup:
    return Markup("{}").format(_named(_OUTBOX_STATUSES, facts["status"]))


def _outbox_changed(facts: Facts) -> Markup:
    said = [Markup("{}").format(_named(OUTBOX_CHANNELS, facts["channel"]))]
    if facts.get("trigger"):
        said.append(Markup("trigger <code>{}</code>").format(facts["trigger"]))
    if facts.get("attempts"):
        said.append(Markup("{}").format(_counted(facts["attempts"], "attempt", "attempts")))
    if facts.get("reason"):
        said.append(Markup("{}").format(facts["reason"]))
    return Markup(" · ").join(said)


def _noted(facts: Facts) -> Markup:
    who = person(str(facts[ACTOR])) if facts.get(ACTOR) else "An agent"
    return Markup("Written by {} for colleagues; not sent to the contact").format(who)


EVENTS: Mapping[str, EventWords] = {
    "session.opened": EventWords(icon="log-in", hue="accent", title=_say("Session opened"), detail=_opened),
    "message.echoed": EventWords(icon="smartphone", title=_say("Sent from the phone app"), detail=_message_echoed),
    "message.received": EventWords(icon="message-circle", title=_say("Message received"), detail=_message_received),
    "message.revised": EventWords(icon="pencil", title=_say("Message revised"), detail=_message_revised),
    "message.redacted": EventWords(
        icon="shield-alert", title=_say("Sensitive data removed before storage"), detail=_redacted
    ),
    "confirmation.ended": EventWords(
        icon="shield-alert", hue="amber", about="warning", title=_say("No longer confirmed"), detail=_confirmation_ended
    ),
    "contact.resolved": EventWords(icon="contact-round", title=_say("Contact recognised"), detail=_contact),
    "admission.refused": EventWords(
        icon="gauge", hue="amber", about="warning", title=_say("Rate limit reached"), detail=_refused
    ),
    "budget.exceeded": EventWords(
        icon="wallet", hue="amber", about="warning", title=_say("Budget exceeded"), detail=_budget
    ),
    "session.busy": EventWords(icon="lock", hue="amber", title=_say("Session busy"), detail=_busy),
    "classifier.ran": EventWords(icon="brain-circuit", title=_say("Message classified"), detail=_classified),
    "classifier.failed": EventWords(
        icon="circle-alert", hue="amber", about="warning", title=_fell_back, detail=_classifier_failed
    ),
    "intent.assigned": EventWords(
        icon="target", hue="accent", title=_say("Intent: <code>{}</code>", "intent"), detail=_intent
    ),
    "intent.unclear": EventWords(
        icon="message-circle-question-mark",
        hue="amber",
        title=_say("Not understood"),
        detail=_say("{} · miss {} of {} before handoff to an agent", "reason", "misses", "misses_before_handoff"),
    ),
    "parameter.asked": EventWords(
        icon="text-cursor-input",
        about="skill",
        title=_say("Asked for <code>{}</code>", "parameter"),
        detail=_asked,
    ),
    "verification.required": EventWords(
        icon="shield-alert", hue="blue", about="skill", title=_say("Verification required"), detail=_verification
    ),
    "code.reported": EventWords(
        icon="shield-alert",
        hue="red",
        about="error",
        title=_say("Code reported: the contact did not request it"),
        detail=_say("Possible fraud: the code is void and the contact is no longer confirmed"),
    ),
    "skill.invoked": EventWords(
        icon="wrench", about="skill", title=_say("Skill called: <code>{}</code>", "skill"), detail=_invoked
    ),
    "skill.succeeded": EventWords(
        icon="circle-check",
        hue="green",
        about="skill",
        title=_say("Skill succeeded: <code>{}</code>", "skill"),
        detail=_succeeded,
    ),
    "skill.failed": EventWords(
        icon="circle-x",
        hue="red",
        about="skill error",
        title=_say("Skill failed: <code>{}</code>", "skill"),
        detail=_failed,
    ),
    "skill.retry_scheduled": EventWords(
        icon="refresh-cw",
        hue="amber",
        about="skill warning",
        title=_say("Retry scheduled"),
        detail=lambda facts: Markup("Attempt {} of <code>{}</code> in {}").format(
            facts["next_attempt"], facts["skill"], _seconds(facts["delay_seconds"])
        ),
    ),
    "skill.retired": EventWords(
        icon="archive",
        hue="red",
        about="skill warning",
        title=_say("Skill retired: <code>{}</code>", "skill"),
        detail=_say("It was requested but is no longer in the registry"),
    ),
    "flow.started": EventWords(
        icon="play",
        hue="accent",
        title=_say("Flow started: <code>{}</code>", "flow"),
        detail=_flow_started,
    ),
    "flow.step_entered": EventWords(
        icon="milestone",
        title=_say("Step <code>{}</code>", "step"),
        detail=_say("{} · flow <code>{}</code>", "step_type", "flow"),
    ),
    "flow.step_failed": EventWords(
        icon="circle-x",
        hue="red",
        about="error",
        title=_say("Step failed: <code>{}</code>", "step"),
        detail=_step_failed,
    ),
    "flow.completed": EventWords(
        icon="flag",
        hue="green",
        title=_say("Flow completed: <code>{}</code>", "flow"),
        detail=_say("version {}", "flow_version"),
    ),
    "state.changed": EventWords(icon="signpost", hue="accent", title=_say("State"), detail=_say("{}", "reason")),
    "outcome.assigned": EventWords(
        icon="list-checks", hue="accent", title=_say("Outcome"), detail=_say("{}", "reason")
    ),
    "handoff.requested": EventWords(
        icon="headset", hue="violet", title=_say("Escalated to an agent"), detail=_say("{}", "reason")
    ),
    "handoff.claimed": EventWords(icon="user-round-check", hue="violet", title=_claimed_title, detail=_claimed),
    "handoff.unassigned": EventWords(
        icon="inbox",
        hue="violet",
        title=_say("Returned to the queue"),
        detail=_say("Previously with <bdi>{}</bdi> · {}", "agent", "reason"),
    ),
    "handoff.unattended": EventWords(
        icon="clock", hue="violet", title=_say("Still waiting for an agent"), detail=_unattended
    ),
    "handoff.released": EventWords(
        icon="undo-2",
        hue="violet",
        title=_say("Released to the dispatcher"),
        detail=_say("by <bdi>{}</bdi> · {}", "by", "reason"),
    ),
    "handoff.ended": EventWords(icon="bot", hue="violet", title=_handoff_ended_title, detail=_handoff_ended),
    "note.added": EventWords(icon="pencil", hue="amber", title=_say("Internal note"), detail=_noted),
    "message.sent": EventWords(icon="send", title=_say("Reply queued"), detail=_message_sent),
    "message.status": EventWords(icon="check-check", title=_status_title, detail=_status),
    "trigger.fired": EventWords(icon="zap", hue="accent", title=_trigger_title, detail=_trigger_fired),
    "outbox.changed": EventWords(icon="mail", title=_outbox_title, detail=_outbox_changed),
    "dispatch.orphaned": EventWords(
        icon="unlink", hue="red", about="error", title=_say("Dispatch orphaned"), detail=_orphaned
    ),
    "dispatch.retried": EventWords(
        icon="undo-2",
        title=_say("Message handled again"),
        detail=_say("Requested by <bdi>{}</bdi> after repeated failures", "by"),
    ),
    "session.resolved": EventWords(
        icon="flag", hue="accent", title=_say("Session resolved"), detail=_say("{}", "reason")
    ),
    "session.expired": EventWords(icon="timer-off", title=_say("Session expired"), detail=_expired),
    "retention.truncated": EventWords(
        icon="scissors",
        title=_say("Deleted by retention"),
        detail=lambda facts: Markup("{} and {} were older than {}").format(
            _counted(facts["removed_messages"], "message", "messages"),
            _counted(facts["removed_events"], "event", "events"),
            _counted(facts["retention_days"], "day", "days"),
        ),
    ),
    "hold.put": EventWords(icon="shield-check", title=_say("Put on legal hold"), detail=_say("{}", "reason")),
    "hold.lifted": EventWords(icon="shield-check", title=_say("Legal hold lifted"), detail=_say("{}", "reason")),
    "contact.erased": EventWords(icon="trash-2", title=_say("Contact erased"), detail=_contact_erased),
}

UNKNOWN = EventWords(icon="circle-dashed", title=_nothing, detail=_nothing)
"""For a type that this version does not know: its own name is the title, its payload the detail."""


def _about(filter_name: str) -> frozenset[str]:
    return frozenset(name for name, words in EVENTS.items() if filter_name in words.about.split())


CALLS = EventFilter(types=_about("skill"))
"""What the timeline keeps under Skill calls."""

ERRORS = EventFilter(types=_about("error"), failed_deliveries=True, once=True)
"""What the timeline keeps under Errors: what the session's error count counts, each failure once.

A failed attempt of a skill, a step that failed without one, an undelivered message, a lost dispatch, a code that
nobody asked for.
"""

WARNINGS = EventFilter(types=_about("warning"))
"""What it keeps under Warnings: nothing failed, but the turn did not go as usual (a retry, a refusal, a fallback)."""
