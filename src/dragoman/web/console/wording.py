"""Says what the pages call things: states, outcomes, and every type of audit event, in plain language.

The only place for such words. A test walks the catalogue of events, the states and the outcomes and demands an
entry of each. A sentence is built from the payload as it was stored, so each tolerates fields of an older schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from dragoman.domain.nouns import DEFAULT_CURRENCY, Level
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import without_isolates
from dragoman.domain.states import State
from dragoman.ledger.pages import EventFilter
from dragoman.translations import DeferredText, deferred, markup, translated
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n
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
    # Translators: a state of a conversation, as those after it.
    State.OPEN: StateWords(label=deferred("Open"), hue="green"),
    State.ACTIVE: StateWords(label=deferred("Active"), hue="green"),
    State.AWAITING_USER: StateWords(label=deferred("Awaiting user"), hue="amber"),
    State.PROCESSING: StateWords(label=deferred("Processing"), hue="blue", breathing=True),
    State.WITH_AGENT: StateWords(label=deferred("With agent"), hue="red"),
    State.RESOLVED: StateWords(label=deferred("Resolved"), hue="gray"),
    State.EXPIRED: StateWords(label=deferred("Expired"), hue="gray", hollow=True),
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
        label=deferred("In Progress"),
        hue="gray",
        icon="loader",
        meaning=deferred("No final outcome yet: the conversation is still being handled."),
    ),
    Outcome.SUCCESS: OutcomeWords(
        label=deferred("Success"),
        hue="green",
        icon="circle-check",
        meaning=deferred("A skill or a whole flow ran successfully and the contact got an answer."),
    ),
    Outcome.SKILL_ERROR: OutcomeWords(
        label=deferred("Skill Error"),
        hue="red",
        icon="circle-x",
        meaning=deferred("A skill still failed after its last retry."),
    ),
    Outcome.SKILL_RETIRED: OutcomeWords(
        label=deferred("Skill Retired"),
        hue="gray",
        icon="archive",
        meaning=deferred("The requested skill is no longer in the registry."),
    ),
    Outcome.PARTIAL_FLOW_FAILURE: OutcomeWords(
        label=deferred("Partial Flow Failure"),
        hue="orange",
        icon="split",
        meaning=deferred("A flow got under way, then one of its later steps failed."),
    ),
    Outcome.BUDGET_EXCEEDED: OutcomeWords(
        label=deferred("Budget Exceeded"),
        hue="amber",
        icon="wallet",
        meaning=deferred("The session used up its message budget or its cost budget."),
    ),
    Outcome.HANDOFF: OutcomeWords(
        label=deferred("Handoff"),
        hue="violet",
        icon="headset",
        meaning=deferred("Escalated to an agent by a flow, a menu, or because the bot repeatedly did not understand."),
    ),
    Outcome.SESSION_BUSY: OutcomeWords(
        label=deferred("Session Busy"),
        hue="teal",
        icon="lock",
        meaning=deferred("The contact has a session in progress elsewhere, or an earlier message took too long."),
    ),
    Outcome.DISPATCH_ORPHANED: OutcomeWords(
        label=deferred("Dispatch Orphaned"),
        hue="pink",
        icon="unlink",
        meaning=deferred("The worker was lost before it finished; a late result is recorded but not sent."),
    ),
    Outcome.RATE_LIMITED: OutcomeWords(
        label=deferred("Rate Limited"),
        hue="amber",
        icon="gauge",
        meaning=deferred("Too many messages came in at once, so this one was not handled."),
    ),
    Outcome.TO_AGENT: OutcomeWords(
        label=deferred("To Agent"),
        hue="violet",
        icon="user-round",
        meaning=deferred("Routed straight to an agent without trying a skill: by request or by a routing rule."),
    ),
    Outcome.VERIFICATION_REQUIRED: OutcomeWords(
        label=deferred("Verification Required"),
        hue="blue",
        icon="shield-alert",
        meaning=deferred("The skill requires a higher verification level than the contact has."),
    ),
    Outcome.NONE: OutcomeWords(
        label=deferred("None"),
        hue="gray",
        icon="circle-dashed",
        meaning=deferred("The session ended before anything was classified or run; usually it expired."),
    ),
}

LEVELS = {
    Level.UNVERIFIED.name: deferred("Unverified"),
    Level.PHONE_MATCHED.name: deferred("Phone Matched"),
    Level.CONTACT_CONFIRMED.name: deferred("Contact Confirmed"),
}
"""How sure we are who a contact is, by the level's name."""

SOURCES = {
    "choice": deferred("The contact’s choice"),
    "flow": deferred("The flow"),
    "rule": deferred("A rule"),
    "classifier": deferred("The classifier"),
    "answer": deferred("Answer to the bot’s question"),
}

KINDS = {
    # Translators: this and the kinds after it follow "sent" and "wrote", as their object.
    "text": deferred("a text"),
    "media": deferred("a file"),
    "image": deferred("an image"),
    "video": deferred("a video"),
    "audio": deferred("an audio file"),
    "voice": deferred("a voice message"),
    "document": deferred("a document"),
    "sticker": deferred("a sticker"),
    "location": deferred("a location"),
    "contacts": deferred("contact cards"),
    "reaction": deferred("a reaction"),
    "choice": deferred("a tapped option"),
    "form": deferred("a filled-in form"),
    "order": deferred("an order"),
    "payment": deferred("a payment notice"),
    "code_report": deferred("a report of a code that they did not request"),
    "system": deferred("a notice from the channel"),
    "edit": deferred("an edit of an earlier message"),
    "revoke": deferred("the deletion of an earlier message"),
    "unsupported": deferred("an unsupported message"),
    "erased": deferred("an erased message"),
    "note": deferred("an internal note"),
    "options": deferred("options to choose from"),
    "link": deferred("a link button"),
    "request": deferred("a request button"),
    "template": deferred("a template"),
}

MEDIA = {
    "image": (deferred("Image"), "image"),
    "video": (deferred("Video"), "video"),
    "audio": (deferred("Audio"), "music"),
    "voice": (deferred("Voice message"), "mic"),
    "document": (deferred("Document"), "file-text"),
    "sticker": (deferred("Sticker"), "sticker"),
}

SENDERS = {"contact": deferred("Contact"), "bot": deferred("Bot"), "agent": deferred("Agent")}
"""Who wrote a message."""

CHANNELS = {"whatsapp": "WhatsApp", "email": deferred("Email")}

OUTBOX_CHANNELS = {**CHANNELS, "webhook": deferred("Webhook")}
"""What the outbox sends by."""

ENTRY_STATUSES: dict[str, StateWords] = {
    OutboxStatus.SCHEDULED: StateWords(label=deferred("Scheduled"), hue="violet"),
    OutboxStatus.PENDING: StateWords(label=deferred("Pending"), hue="blue"),
    OutboxStatus.RETRYING: StateWords(label=deferred("Retrying"), hue="amber"),
    OutboxStatus.SENT: StateWords(label=deferred("Sent"), hue="green"),
    OutboxStatus.FAILED: StateWords(label=deferred("Failed"), hue="red"),
    OutboxStatus.SKIPPED: StateWords(label=deferred("Skipped"), hue="gray", hollow=True),
    OutboxStatus.CANCELLED: StateWords(label=deferred("Cancelled"), hue="gray"),
}
"""What the status of an entry of the outbox is called, and its pill."""

ATTEMPT_RESULTS = {
    "accepted": (deferred("Accepted"), "green"),
    "refused": (deferred("Refused"), "red"),
    "unanswered": (deferred("No answer"), "amber"),
}
"""What the result of an attempt is called, and its colour."""

ACTORS = {
    "dispatcher": deferred("Dispatcher"),
    "agent": deferred("Agent"),
    "administrator": deferred("Administrator"),
    "system": deferred("System"),
}

MAY_BE_DUPLICATE = deferred("Possibly sent twice: an earlier attempt was never answered")

DELIVERIES = {
    # Translators: what became of a message; this and those after it also stand at the beginning of a line.
    "queued": ("clock", deferred("waiting to be sent")),
    "sent": ("check", deferred("sent")),
    "delivered": ("check-check", deferred("delivered")),
    "read": ("check-check", deferred("read")),
    "played": ("check-check", deferred("played")),
    "failed": ("circle-alert", deferred("not delivered")),
}


ACTOR = "_actor"
"""Where the facts of an event have the name of whoever did it; no payload has a field of that name."""

AT = "_at"
"""Where they have when it is on record."""

GUESSED_FROM = "_guessed_from"
"""Where they have where a language comes from that no text has told."""

READ_IN_TEXT = deferred("from what they wrote")

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


def _say(text: DeferredText) -> Sentence:
    """A sentence without places."""
    return lambda _facts: Markup(translated(text))  # noqa: S704 - our own constants below


def _field(name: str) -> Sentence:
    """What a field of the payload says, escaped."""
    return lambda facts: escape(facts[name])


def _named(names: Mapping[str, str], value: object) -> str:
    """What *names* calls *value*, for the reader; the value itself where it has no name."""
    return translated(names.get(str(value), str(value)))


def _in_line(*parts: str) -> Markup:
    """Phrases beside each other; what is empty is left out, and what is no HTML is escaped."""
    return Markup(" · ").join(part for part in parts if part)


def _nothing(_facts: Facts) -> Markup:
    return Markup("")


def _message_received(facts: Facts) -> Markup:
    return markup("The contact sent %(what)s", what=_named(KINDS, facts["kind"]))


def _message_echoed(facts: Facts) -> Markup:
    what = _named(KINDS, facts["kind"])
    return markup("Staff sent %(what)s from the WhatsApp app on the business phone", what=what)


def _message_revised(facts: Facts) -> Markup:
    if facts["how"] == "deleted":
        return markup("The contact deleted it before it was handled, so it was not handled")
    return markup("The contact edited it before it was handled; the edited version was handled")


def _message_sent(facts: Facts) -> Markup:
    what, sender = _named(KINDS, facts["kind"]), str(facts["sender"])
    if sender == "bot":
        return markup("The dispatcher wrote %(what)s", what=what)
    if sender == "agent" and not facts.get(ACTOR):
        return markup("An agent wrote %(what)s", what=what)
    who = person(str(facts[ACTOR])) if sender == "agent" else sender
    return markup("%(who)s wrote %(what)s", who=who, what=what)


def _contact(facts: Facts) -> Markup:
    partner = facts.get("business_partner")
    known = markup("No matching business partner")
    if partner:
        known = markup("Business partner <bdi><b>%(name)s</b></bdi>", name=without_isolates(str(partner)))
    spoken = Markup("")
    if facts["locale"]:
        name = language(facts["locale"])
        source = READ_IN_TEXT if facts.get("language_read") else facts.get(GUESSED_FROM)
        spoken = markup("Language: %(language)s", language=name)
        if source:
            spoken = markup("Language: %(language)s, %(source)s", language=name, source=source)
    return _in_line(known, _named(LEVELS, facts["level"]), spoken)


def _language(facts: Facts) -> Markup:
    found, previous = language(facts["language"]), language(facts["previous"])
    sure = percent(facts["confidence"])
    if facts["language"] == facts["previous"]:
        return markup(
            "%(language)s, as assumed; the text shows it (%(confidence)s sure)", language=found, confidence=sure
        )
    return markup(
        "%(language)s from here on, as the text is in it (%(confidence)s sure); until now %(previous)s",
        language=found,
        confidence=sure,
        previous=previous,
    )


def _confirmation_ended(facts: Facts) -> Markup:
    ended = markup("The contact’s confirmation ran out")
    if facts["cause"]:
        ended = markup("The contact’s confirmation was withdrawn: %(cause)s", cause=facts["cause"])
    try:
        since = facts[AT] - datetime.fromisoformat(facts["ended_at"])
    except (TypeError, ValueError):
        return ended
    return _in_line(ended, _("%(duration)s before", duration=duration(since.total_seconds())))


def _opened(facts: Facts) -> Markup:
    channel = _named(CHANNELS, facts["channel"])
    previous = str(facts.get("previous_session_id") or "")
    if not previous:
        return markup("On %(channel)s; the first session in this thread", channel=channel)
    if not _UUID.fullmatch(previous):
        return markup("On %(channel)s; follows an earlier session in this thread", channel=channel)
    address = f"/communications/automation/logs/{previous}"
    return markup(
        'On %(channel)s; follows an <a href="%(address)s">earlier session</a> in this thread',
        channel=channel,
        address=address,
    )


def _refused(facts: Facts) -> Markup:
    limit = markup(
        "Limit <code>%(limit)s</code>: %(allowed)s per %(period)s",
        limit=facts["limit"],
        allowed=facts["allowed"],
        period=_seconds(facts["window_seconds"]),
    )
    if facts.get("contact_told"):
        return _in_line(limit, _("the contact was notified"))
    return _in_line(limit, _("the contact was not notified again"))


def _money(facts: Facts, micros: int) -> str:
    return money(micros, str(facts.get(CURRENCY) or DEFAULT_CURRENCY))


def _cost(facts: Facts) -> str:
    """What a step cost; nothing where it was free."""
    cost = facts.get("cost_micros")
    return _("cost %(amount)s", amount=_money(facts, cost)) if isinstance(cost, int) and cost else ""


def _budget(facts: Facts) -> Markup:
    allowed, used = facts["allowed"], facts["used"]
    match facts["budget"]:
        case "messages":
            return markup("Message budget: %(used)s of %(allowed)s used", used=used, allowed=allowed)
        case "cost":
            if isinstance(allowed, int) and isinstance(used, int):
                allowed, used = _money(facts, allowed), _money(facts, used)
            return markup("Cost budget: %(used)s of %(allowed)s used", used=used, allowed=allowed)
        case other:
            named = str(other).capitalize()
            return markup("%(budget)s budget: %(used)s of %(allowed)s used", budget=named, used=used, allowed=allowed)


def _classified(facts: Facts) -> Markup:
    model = markup(
        "Model <code>%(classifier)s %(version)s</code>, threshold %(threshold)s",
        classifier=facts["classifier"],
        version=facts["classifier_version"],
        threshold=percent(facts["threshold"]),
    )
    return _in_line(model, milliseconds(facts["duration_ms"]), _cost(facts))


def _fell_back(facts: Facts) -> Markup:
    return markup(
        "Classifier <code>%(classifier)s</code> did not answer; <code>%(other)s</code> was used instead",
        classifier=facts["classifier"],
        other=facts["fell_back_to"],
    )


def _classifier_failed(facts: Facts) -> Markup:
    attempts = facts["attempts"]
    if attempts == 0:
        tried = _("not called")
    elif isinstance(attempts, int):
        tried = _n("tried once", "tried %(count)s times", attempts)
    else:
        tried = _("tried")
    return _in_line(
        Markup("<code>{}</code>").format(facts["classifier_version"]),
        Markup("{}: {}").format(facts["error_class"], facts["message"]),
        tried,
        milliseconds(facts["duration_ms"]),
        _cost(facts),
    )


def _intent(facts: Facts) -> Markup:
    parts = [_named(SOURCES, facts["source"]), str(facts.get("detail") or "")]
    if facts.get("confidence") is not None:
        parts.append(_("confidence %(share)s", share=percent(facts["confidence"])))
    return _in_line(*parts)


def _invoked(facts: Facts) -> Markup:
    return _in_line(
        _version(facts["skill_version"]),
        _("attempt %(attempt)s of %(most)s", attempt=facts["attempt"], most=facts["max_attempts"]),
        _("time-out %(duration)s", duration=_seconds(facts["timeout_seconds"])),
    )


def _version(version: object) -> str:
    return _("version %(version)s", version=version)


def _attempt(facts: Facts) -> str:
    return _("attempt %(attempt)s", attempt=facts["attempt"])


def _succeeded(facts: Facts) -> Markup:
    answered = _("Answered in %(duration)s", duration=milliseconds(facts["duration_ms"]))
    return _in_line(answered, _attempt(facts), _cost(facts))


def _failed(facts: Facts) -> Markup:
    why = Markup('<code>{}</code>: <span class="why">{}</span>').format(facts["error_class"], facts["message"])
    after = _("after %(duration)s", duration=milliseconds(facts["duration_ms"]))
    again = _("retryable") if facts.get("retryable") else _("not retryable")
    return _in_line(why, _attempt(facts), after, again)


def _retry(facts: Facts) -> Markup:
    return markup(
        "Attempt %(attempt)s of <code>%(skill)s</code> in %(duration)s",
        attempt=facts["next_attempt"],
        skill=facts["skill"],
        duration=_seconds(facts["delay_seconds"]),
    )


def _asked(facts: Facts) -> Markup:
    return _in_line(markup("Required by <code>%(skill)s</code>", skill=facts["skill"]), _times(facts["asked"]))


def _times(value: object) -> str:
    if value == 2:
        return _("asked twice")
    return _n("asked once", "asked %(count)s times", _form(value), **_as_it_is(value))


def _verification(facts: Facts) -> Markup:
    return markup(
        "<code>%(skill)s</code> requires %(required)s; the contact is %(actual)s",
        skill=facts["skill"],
        required=_named(LEVELS, facts["required"]),
        actual=_named(LEVELS, facts["actual"]),
    )


_STATUSES = {
    "sent": deferred("Accepted by WhatsApp"),
    "delivered": deferred("Message delivered"),
    "read": deferred("Message read"),
    "played": deferred("Voice message played"),
    "failed": deferred("Message not delivered"),
    "retrying": deferred("Not sent yet; will be retried"),
    "held": deferred("On hold, not sent yet"),
    "skipped": deferred("Skipped, not sent"),
}


def _status_title(facts: Facts) -> Markup:
    status = str(facts["status"])
    if status in _STATUSES:
        return escape(translated(_STATUSES[status]))
    return markup("Delivery status %(status)s", status=status)


def _status(facts: Facts) -> Markup:
    parts = []
    if facts.get("code") is not None:
        parts.append(Markup("<code>{}</code>").format(facts["code"]))
    if facts.get("reason"):
        parts.append(Markup('<span class="why">{}</span>').format(facts["reason"]))
    attempts = facts.get("attempts")
    if isinstance(attempts, int) and attempts > 1:
        parts.append(escape(_n("after %(count)s attempt", "after %(count)s attempts", attempts)))
    return _in_line(*parts)


def _orphaned(facts: Facts) -> Markup:
    parts = [Markup('<span class="why">{}</span>').format(facts["reason"])]
    if facts.get("skill") and facts.get("attempt"):
        parts.append(markup("while <code>%(skill)s</code> was running", skill=facts["skill"]))
    elif facts.get("skill"):
        parts.append(markup("while <code>%(skill)s</code> was being called", skill=facts["skill"]))
    if facts.get("worker"):
        parts.append(markup("worker <code>%(worker)s</code>", worker=facts["worker"]))
    if facts.get("late_result"):
        parts.append(markup("late result: %(result)s", result=facts["late_result"]))
    return _in_line(*parts)


def _expired(facts: Facts) -> Markup:
    return markup(
        "Inactive for %(duration)s (limit %(limit)s)",
        duration=_seconds(facts["idle_seconds"]),
        limit=_seconds(facts["allowed_seconds"]),
    )


_REDACTED = {
    "card": deferred("card number"),
    "iban": deferred("bank account"),
    "token": deferred("access token"),
}


def _redacted(facts: Facts) -> Markup:
    found = facts["found"]
    if not isinstance(found, Mapping):
        return escape(found)
    return Markup(", ").join(
        Markup("{} × {}").format(number, _named(_REDACTED, rule)) for rule, number in sorted(found.items())
    )


def _contact_erased(facts: Facts) -> Markup:
    messages, events = facts["messages"], facts["left"]
    left = len(events) if isinstance(events, Mapping) else events
    return markup(
        "%(reason)s: %(messages)s deleted, and personal data in %(events)s",
        reason=facts["reason"],
        messages=_messages(messages),
        events=_events(left),
    )


def _truncated(facts: Facts) -> Markup:
    days = facts["retention_days"]
    return markup(
        "%(messages)s and %(events)s were older than %(days)s",
        messages=_messages(facts["removed_messages"]),
        events=_events(facts["removed_events"]),
        days=_n("%(count)s day", "%(count)s days", _form(days), **_as_it_is(days)),
    )


def _messages(number: object) -> str:
    return _n("%(count)s message", "%(count)s messages", _form(number), **_as_it_is(number))


def _events(number: object) -> str:
    return _n("%(count)s event", "%(count)s events", _form(number), **_as_it_is(number))


def _form(value: object) -> int:
    """The number whose form a counted noun takes; that of many for what an old schema has in the place of one."""
    return value if isinstance(value, int) else 2


def _as_it_is(value: object) -> dict[str, object]:
    """What stands for the count where it is no number."""
    return {} if isinstance(value, int) else {"count": value}


def _step_failed(facts: Facts) -> Markup:
    why = Markup('<span class="why">{}</span>').format(facts["reason"])
    has_values = isinstance(facts.get("collected"), dict) and facts["collected"]
    return _in_line(why, _flow(facts), _("collected so far:") if has_values else "")


def _flow(facts: Facts) -> Markup:
    return markup("flow <code>%(flow)s</code>", flow=facts["flow"])


def _step_entered(facts: Facts) -> Markup:
    return _in_line(str(facts["step_type"]), _flow(facts))


def _unclear(facts: Facts) -> Markup:
    miss, most = facts["misses"], facts["misses_before_handoff"]
    return _in_line(
        str(facts["reason"]), _("miss %(miss)s of %(most)s before handoff to an agent", miss=miss, most=most)
    )


def _unassigned(facts: Facts) -> Markup:
    return _in_line(markup("Previously with <bdi>%(agent)s</bdi>", agent=facts["agent"]), str(facts["reason"]))


def _flow_started(facts: Facts) -> Markup:
    began, newest = facts["flow_version"], (facts.get(NEWEST_FLOWS) or {}).get(str(facts["flow"]))
    if newest is None or newest == began:
        return escape(_version(began))
    return markup(
        "version %(version)s; newest is %(newest)s; this session stays on its own", version=began, newest=newest
    )


def _busy(facts: Facts) -> Markup:
    return escape(facts["reason"])


def _seconds(value: object) -> str:
    return duration(float(value)) if isinstance(value, int | float) else "–"


_ENDED = {
    "returned": deferred("Returned to the bot"),
    "resolved": deferred("Handoff ended: resolved by the agent"),
    "released": deferred("Handoff ended: released by an administrator"),
    "timed_out": deferred("Handoff timed out"),
    "ended": deferred("Handoff ended with the conversation"),
    "superseded": deferred("Handoff continues in another conversation"),
}


def _claimed_title(facts: Facts) -> Markup:
    agent = person(str(facts["agent"]))
    match facts["how"]:
        case "claimed":
            return markup("%(agent)s claimed the conversation", agent=agent)
        case "assigned":
            return markup("Assigned to %(agent)s", agent=agent)
        case "automatic":
            return markup("Assigned to %(agent)s automatically", agent=agent)
        case _:
            return markup("%(agent)s took over", agent=agent)


def _claimed(facts: Facts) -> Markup:
    stopped, under_way = (
        len(facts[name]) if isinstance(facts.get(name), list) else 0 for name in ("stopped", "under_way")
    )
    said = [markup("the bot sends nothing from here on")]
    if facts.get("previous"):
        said.insert(0, markup("from %(agent)s", agent=person(str(facts["previous"]))))
    if facts.get("reason"):
        said.insert(0, escape(facts["reason"]))
    if stopped:
        said.append(escape(_n("%(count)s reply was not sent", "%(count)s replies were not sent", stopped)))
    if under_way:
        sending = _n(
            "%(count)s reply was already being sent and will not be retried",
            "%(count)s replies were already being sent and will not be retried",
            under_way,
        )
        said.append(escape(sending))
    return _in_line(*said)


def _unattended(facts: Facts) -> Markup:
    return markup(
        "Waiting for %(duration)s (limit %(limit)s)",
        duration=_seconds(facts["waited_seconds"]),
        limit=_seconds(facts["allowed_seconds"]),
    )


def _handoff_ended_title(facts: Facts) -> Markup:
    return escape(_named(_ENDED, facts["how"]))


def _handoff_ended(facts: Facts) -> Markup:
    who = markup("No agent took it")
    if facts.get("agent"):
        who = markup("Handled by %(agent)s", agent=person(str(facts["agent"])))
    return _in_line(who, _("lasted %(duration)s", duration=_seconds(facts["lasted_seconds"])), str(facts["reason"]))


_FIRED_ON = {
    "resolved": deferred("the conversation was resolved"),
    "expired": deferred("the conversation expired"),
    "outcome": deferred("a dispatch ended with this outcome"),
    "handoff_waiting": deferred("it waited too long for an agent"),
    "channel_stopped": deferred("the channel was stopped"),
    "job_given_up": deferred("a job failed for good"),
    "request": deferred("requested through the API"),
    "schedule": deferred("on schedule"),
}


def _trigger_title(facts: Facts) -> Markup:
    return markup("Trigger fired: <code>%(trigger)s</code>", trigger=facts["trigger"])


def _trigger_fired(facts: Facts) -> Markup:
    deliveries = facts["deliveries"]
    said = [_named(_FIRED_ON, facts["on"])]
    if isinstance(deliveries, list):
        going = [one for one in deliveries if one.get("status") != "skipped"]
        if going:
            said.append(_n("%(count)s message queued", "%(count)s messages queued", len(going)))
        said += [_("not sent: %(reason)s", reason=one.get("reason")) for one in deliveries if one not in going]
    return _in_line(*said)


_OUTBOX_STATUSES = {
    "sent": deferred("Message accepted by the server"),
    "failed": deferred("Message failed"),
    "retrying": deferred("Message will be retried"),
    "held": deferred("Message on hold"),
    "skipped": deferred("Message not sent"),
    "cancelled": deferred("Message cancelled"),
    "resent": deferred("Message sent again"),
}


def _outbox_title(facts: Facts) -> Markup:
    return escape(_named(_OUTBOX_STATUSES, facts["status"]))


def _outbox_changed(facts: Facts) -> Markup:
    said = [_named(OUTBOX_CHANNELS, facts["channel"])]
    if facts.get("trigger"):
        said.append(markup("trigger <code>%(trigger)s</code>", trigger=facts["trigger"]))
    if attempts := facts.get("attempts"):
        said.append(_n("%(count)s attempt", "%(count)s attempts", _form(attempts), **_as_it_is(attempts)))
    said.append(str(facts.get("reason") or ""))
    return _in_line(*said)


def _noted(facts: Facts) -> Markup:
    if not facts.get(ACTOR):
        return markup("Written by an agent for colleagues; not sent to the contact")
    return markup("Written by %(agent)s for colleagues; not sent to the contact", agent=person(str(facts[ACTOR])))


EVENTS: Mapping[str, EventWords] = {
    "session.opened": EventWords(icon="log-in", hue="accent", title=_say(deferred("Session opened")), detail=_opened),
    "message.echoed": EventWords(
        icon="smartphone", title=_say(deferred("Sent from the phone app")), detail=_message_echoed
    ),
    "message.received": EventWords(
        icon="message-circle", title=_say(deferred("Message received")), detail=_message_received
    ),
    "message.revised": EventWords(icon="pencil", title=_say(deferred("Message revised")), detail=_message_revised),
    "message.redacted": EventWords(
        icon="shield-alert", title=_say(deferred("Sensitive data removed before storage")), detail=_redacted
    ),
    "contact.resolved": EventWords(icon="contact-round", title=_say(deferred("Contact recognised")), detail=_contact),
    "language.recognized": EventWords(icon="languages", title=_say(deferred("Language recognised")), detail=_language),
    "confirmation.ended": EventWords(
        icon="shield-alert",
        hue="amber",
        about="warning",
        title=_say(deferred("No longer confirmed")),
        detail=_confirmation_ended,
    ),
    "admission.refused": EventWords(
        icon="gauge", hue="amber", about="warning", title=_say(deferred("Rate limit reached")), detail=_refused
    ),
    "budget.exceeded": EventWords(
        icon="wallet", hue="amber", about="warning", title=_say(deferred("Budget exceeded")), detail=_budget
    ),
    "session.busy": EventWords(icon="lock", hue="amber", title=_say(deferred("Session busy")), detail=_busy),
    "classifier.ran": EventWords(icon="brain-circuit", title=_say(deferred("Message classified")), detail=_classified),
    "classifier.failed": EventWords(
        icon="circle-alert", hue="amber", about="warning", title=_fell_back, detail=_classifier_failed
    ),
    "intent.assigned": EventWords(
        icon="target",
        hue="accent",
        title=lambda facts: markup("Intent: <code>%(intent)s</code>", intent=facts["intent"]),
        detail=_intent,
    ),
    "intent.unclear": EventWords(
        icon="message-circle-question-mark",
        hue="amber",
        title=_say(deferred("Not understood")),
        detail=_unclear,
    ),
    "parameter.asked": EventWords(
        icon="text-cursor-input",
        about="skill",
        title=lambda facts: markup("Asked for <code>%(parameter)s</code>", parameter=facts["parameter"]),
        detail=_asked,
    ),
    "verification.required": EventWords(
        icon="shield-alert",
        hue="blue",
        about="skill",
        title=_say(deferred("Verification required")),
        detail=_verification,
    ),
    "code.reported": EventWords(
        icon="shield-alert",
        hue="red",
        about="error",
        title=_say(deferred("Code reported: the contact did not request it")),
        detail=_say(deferred("Possible fraud: the code is void and the contact is no longer confirmed")),
    ),
    "skill.invoked": EventWords(
        icon="wrench",
        about="skill",
        title=lambda facts: markup("Skill called: <code>%(skill)s</code>", skill=facts["skill"]),
        detail=_invoked,
    ),
    "skill.succeeded": EventWords(
        icon="circle-check",
        hue="green",
        about="skill",
        title=lambda facts: markup("Skill succeeded: <code>%(skill)s</code>", skill=facts["skill"]),
        detail=_succeeded,
    ),
    "skill.failed": EventWords(
        icon="circle-x",
        hue="red",
        about="skill error",
        title=lambda facts: markup("Skill failed: <code>%(skill)s</code>", skill=facts["skill"]),
        detail=_failed,
    ),
    "skill.retry_scheduled": EventWords(
        icon="refresh-cw",
        hue="amber",
        about="skill warning",
        title=_say(deferred("Retry scheduled")),
        detail=_retry,
    ),
    "skill.retired": EventWords(
        icon="archive",
        hue="red",
        about="skill warning",
        title=lambda facts: markup("Skill retired: <code>%(skill)s</code>", skill=facts["skill"]),
        detail=_say(deferred("It was requested but is no longer in the registry")),
    ),
    "flow.started": EventWords(
        icon="play",
        hue="accent",
        title=lambda facts: markup("Flow started: <code>%(flow)s</code>", flow=facts["flow"]),
        detail=_flow_started,
    ),
    "flow.step_entered": EventWords(
        icon="milestone",
        title=lambda facts: markup("Step <code>%(step)s</code>", step=facts["step"]),
        detail=_step_entered,
    ),
    "flow.step_failed": EventWords(
        icon="circle-x",
        hue="red",
        about="error",
        title=lambda facts: markup("Step failed: <code>%(step)s</code>", step=facts["step"]),
        detail=_step_failed,
    ),
    "flow.completed": EventWords(
        icon="flag",
        hue="green",
        title=lambda facts: markup("Flow completed: <code>%(flow)s</code>", flow=facts["flow"]),
        detail=lambda facts: escape(_version(facts["flow_version"])),
    ),
    "state.changed": EventWords(icon="signpost", hue="accent", title=_say(deferred("State")), detail=_field("reason")),
    "outcome.assigned": EventWords(
        icon="list-checks", hue="accent", title=_say(deferred("Outcome")), detail=_field("reason")
    ),
    "handoff.requested": EventWords(
        icon="headset", hue="violet", title=_say(deferred("Escalated to an agent")), detail=_field("reason")
    ),
    "handoff.claimed": EventWords(icon="user-round-check", hue="violet", title=_claimed_title, detail=_claimed),
    "handoff.unassigned": EventWords(
        icon="inbox",
        hue="violet",
        title=_say(deferred("Returned to the queue")),
        detail=_unassigned,
    ),
    "handoff.unattended": EventWords(
        icon="clock", hue="violet", title=_say(deferred("Still waiting for an agent")), detail=_unattended
    ),
    "handoff.released": EventWords(
        icon="undo-2",
        hue="violet",
        title=_say(deferred("Released to the dispatcher")),
        detail=lambda facts: _in_line(markup("by <bdi>%(name)s</bdi>", name=facts["by"]), str(facts["reason"])),
    ),
    "handoff.ended": EventWords(icon="bot", hue="violet", title=_handoff_ended_title, detail=_handoff_ended),
    "note.added": EventWords(icon="pencil", hue="amber", title=_say(deferred("Internal note")), detail=_noted),
    "message.sent": EventWords(icon="send", title=_say(deferred("Reply queued")), detail=_message_sent),
    "message.status": EventWords(icon="check-check", title=_status_title, detail=_status),
    "trigger.fired": EventWords(icon="zap", hue="accent", title=_trigger_title, detail=_trigger_fired),
    "outbox.changed": EventWords(icon="mail", title=_outbox_title, detail=_outbox_changed),
    "dispatch.orphaned": EventWords(
        icon="unlink", hue="red", about="error", title=_say(deferred("Dispatch orphaned")), detail=_orphaned
    ),
    "dispatch.retried": EventWords(
        icon="undo-2",
        title=_say(deferred("Message handled again")),
        detail=lambda facts: markup("Requested by <bdi>%(name)s</bdi> after repeated failures", name=facts["by"]),
    ),
    "session.resolved": EventWords(
        icon="flag", hue="accent", title=_say(deferred("Session resolved")), detail=_field("reason")
    ),
    "session.expired": EventWords(icon="timer-off", title=_say(deferred("Session expired")), detail=_expired),
    "retention.truncated": EventWords(
        icon="scissors",
        title=_say(deferred("Deleted by retention")),
        detail=_truncated,
    ),
    "hold.put": EventWords(icon="shield-check", title=_say(deferred("Put on legal hold")), detail=_field("reason")),
    "hold.lifted": EventWords(icon="shield-check", title=_say(deferred("Legal hold lifted")), detail=_field("reason")),
    "contact.erased": EventWords(icon="trash-2", title=_say(deferred("Contact erased")), detail=_contact_erased),
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
