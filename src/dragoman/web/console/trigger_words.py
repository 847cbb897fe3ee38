"""Says in words what a trigger waits for, what it sends to whom, and what its facts are."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dragoman.domain.plurals import counted
from dragoman.domain.triggers import RecipientKind, Trigger, TriggerChannel, TriggerEvent, TriggerRecipient
from dragoman.services import masking
from dragoman.services.automation.plan_firing import receiver_of
from dragoman.services.visibility import Visibility
from dragoman.web.console.wording import OUTCOMES

EVENTS: Mapping[TriggerEvent, str] = {
    TriggerEvent.OUTCOME: "A message to the bot ends with an outcome",
    TriggerEvent.RESOLVED: "A conversation is resolved",
    TriggerEvent.EXPIRED: "A conversation expires",
    TriggerEvent.HANDOFF_WAITING: "A conversation waits for an agent",
    TriggerEvent.CHANNEL_STOPPED: "A number or mailbox stops sending",
    TriggerEvent.JOB_GIVEN_UP: "A job fails",
    TriggerEvent.REQUEST: "A program requests it",
    TriggerEvent.SCHEDULE: "On a schedule",
}
"""What a trigger may wait for, as the form offers it."""

FACT_WORDS: Mapping[str, str] = {
    "event": "what happened",
    "date": "the day (UTC)",
    "reason": "the reason for the outcome or error",
    "link": "link to the conversation in the logs",
    "session_id": "the conversation’s ID",
    "contact_name": "the contact’s name",
    "contact_phone": "the contact’s number",
    "contact_email": "the contact’s email address",
    "contact_language": "the contact’s language",
    "business_partner": "the business partner’s name",
    "channel": "whatsapp or email",
    "channel_name": "the number or mailbox",
    "state": "the conversation’s state, such as RESOLVED",
    "outcome": "the outcome, such as SKILL_ERROR",
    "intent": "the intent",
    "skill": "the last skill",
    "message_count": "number of messages",
    "last_message": "the contact’s last message",
    "agent": "the agent’s name",
    "waiting_minutes": "how long the contact has waited, in minutes",
    "job": "which job failed",
}
"""What each fact is."""

RECIPIENTS: Mapping[RecipientKind, str] = {
    RecipientKind.CONTACT: "the contact",
    RecipientKind.BUSINESS_PARTNER: "the contacts of the business partner",
    RecipientKind.AGENT: "the agent who has the conversation",
}

CHANNEL_VERBS = {
    TriggerChannel.EMAIL: "mail",
    TriggerChannel.WHATSAPP: "WhatsApp template",
    TriggerChannel.WEBHOOK: "webhook",
}

_DAILY = re.compile(r"([0-9]{1,2}) ([0-9]{1,2}) \* \* (\*|1-5)")


def when_in_words(trigger: Trigger) -> str:
    """What *trigger* waits for, as a phrase."""
    match trigger.event:
        case TriggerEvent.OUTCOME:
            return f"The outcome is {_any_of([OUTCOMES[one].label for one in trigger.outcomes])}"
        case TriggerEvent.HANDOFF_WAITING:
            return f"A conversation has waited for an agent for {counted(trigger.minutes, 'minute', 'minutes')}"
        case TriggerEvent.SCHEDULE:
            return f"{_schedule(trigger.cron)} ({trigger.zone})"
        case event:
            return EVENTS[event]


def _schedule(cron: str) -> str:
    if found := _DAILY.fullmatch(" ".join(cron.split())):
        days = "Every day" if found[3] == "*" else "From Monday to Friday"
        return f"{days} at {int(found[2]):02}:{int(found[1]):02}"
    return f"On the schedule {cron}"


def recipients_in_words(trigger: Trigger, seen: Visibility) -> str:
    """Whom *trigger* writes to, for those who see what *seen* says."""
    if trigger.channel is TriggerChannel.WEBHOOK:
        return receiver_of(trigger)
    return " and ".join(_recipient(one, seen) for one in trigger.recipients) or "nobody"


def _recipient(recipient: TriggerRecipient, seen: Visibility) -> str:
    if recipient.kind is RecipientKind.ADDRESS:
        if seen.unmasked:
            return recipient.value
        return masking.email(recipient.value) if "@" in recipient.value else masking.phone(recipient.value)
    if recipient.kind is RecipientKind.PAYLOAD:
        return f"the address in {recipient.value}"
    return RECIPIENTS[recipient.kind]


def _any_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
