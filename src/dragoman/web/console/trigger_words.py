"""Says in words what a trigger waits for, what it sends to whom, and what its facts are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce

from markupsafe import Markup

from dragoman.domain.triggers import RecipientKind, Trigger, TriggerChannel, TriggerEvent, TriggerRecipient
from dragoman.services import masking
from dragoman.services.automation.plan_firing import receiver_of
from dragoman.services.visibility import Visibility
from dragoman.translations import deferred, markup, pgettext, translated
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n
from dragoman.web.console.wording import OUTCOMES

EVENTS: Mapping[TriggerEvent, str] = {
    TriggerEvent.OUTCOME: deferred("A message to the bot ends with an outcome"),
    TriggerEvent.RESOLVED: deferred("A conversation is resolved"),
    TriggerEvent.EXPIRED: deferred("A conversation expires"),
    TriggerEvent.HANDOFF_WAITING: deferred("A conversation waits for an agent"),
    TriggerEvent.CHANNEL_STOPPED: deferred("A number or mailbox stops sending"),
    TriggerEvent.JOB_GIVEN_UP: deferred("A job fails"),
    TriggerEvent.REQUEST: deferred("A program requests it"),
    TriggerEvent.SCHEDULE: deferred("On a schedule"),
}
"""What a trigger may wait for, as the form offers it."""

FACT_WORDS: Mapping[str, str] = {
    "event": deferred("what happened"),
    "date": deferred("the day (UTC)"),
    "reason": deferred("the reason for the outcome or error"),
    "link": deferred("link to the conversation in the logs"),
    "session_id": deferred("the conversation’s ID"),
    "contact_name": deferred("the contact’s name"),
    "contact_phone": deferred("the contact’s number"),
    "contact_email": deferred("the contact’s email address"),
    "contact_language": deferred("the contact’s language"),
    "business_partner": deferred("the business partner’s name"),
    "channel": deferred("whatsapp or email"),
    "channel_name": deferred("the number or mailbox"),
    "state": deferred("the conversation’s state, such as RESOLVED"),
    "outcome": deferred("the outcome, such as SKILL_ERROR"),
    "intent": deferred("the intent"),
    "skill": deferred("the last skill"),
    "message_count": deferred("number of messages"),
    "last_message": deferred("the contact’s last message"),
    "agent": deferred("the agent’s name"),
    "waiting_minutes": deferred("how long the contact has waited, in minutes"),
    "job": deferred("which job failed"),
}
"""What each fact is."""

RECIPIENTS: Mapping[RecipientKind, str] = {
    RecipientKind.CONTACT: deferred("the contact"),
    RecipientKind.BUSINESS_PARTNER: deferred("the contacts of the business partner"),
    RecipientKind.AGENT: deferred("the agent who has the conversation"),
}

_DAILY = re.compile(r"([0-9]{1,2}) ([0-9]{1,2}) \* \* (\*|1-5)")


def when_in_words(trigger: Trigger) -> str:
    """What *trigger* waits for, as a phrase."""
    match trigger.event:
        case TriggerEvent.OUTCOME:
            return _("The outcome is %(outcomes)s", outcomes=_any_of([OUTCOMES[one].label for one in trigger.outcomes]))
        case TriggerEvent.HANDOFF_WAITING:
            return _n(
                "A conversation has waited for an agent for %(count)s minute",
                "A conversation has waited for an agent for %(count)s minutes",
                trigger.minutes,
            )
        case TriggerEvent.SCHEDULE:
            return f"{_schedule(trigger.cron)} ({trigger.zone})"
        case event:
            return translated(EVENTS[event])


def _schedule(cron: str) -> str:
    if found := _DAILY.fullmatch(" ".join(cron.split())):
        time = f"{int(found[2]):02}:{int(found[1]):02}"
        return (
            _("Every day at %(time)s", time=time)
            if found[3] == "*"
            else _("From Monday to Friday at %(time)s", time=time)
        )
    return _("On the schedule %(schedule)s", schedule=cron)


def what_in_words(trigger: Trigger, labels: Mapping[str, str], seen: Visibility) -> Markup:
    """What *trigger* sends to whom; *labels* are what the email templates are called."""
    recipients = recipients_in_words(trigger, seen)
    match trigger.channel:
        case TriggerChannel.WEBHOOK:
            return markup("Webhook to %(recipients)s", recipients=recipients)
        case TriggerChannel.WHATSAPP:
            template = trigger.template
            return markup(
                "WhatsApp template <b>%(template)s</b> to %(recipients)s", template=template, recipients=recipients
            )
        case TriggerChannel.EMAIL:
            template = labels.get(trigger.template, trigger.template)
            return markup("Email <b>%(template)s</b> to %(recipients)s", template=template, recipients=recipients)


def recipients_in_words(trigger: Trigger, seen: Visibility) -> str:
    """Whom *trigger* writes to, for those who see what *seen* says, as it stands after "to"."""
    if trigger.channel is TriggerChannel.WEBHOOK:
        return receiver_of(trigger)
    named = [_recipient(one, seen) for one in trigger.recipients]
    if not named:
        return pgettext("after “to”", "nobody")
    return reduce(lambda first, second: _("%(first)s and %(second)s", first=first, second=second), named)


def _recipient(recipient: TriggerRecipient, seen: Visibility) -> str:
    if recipient.kind is RecipientKind.ADDRESS:
        if seen.unmasked:
            return recipient.value
        return masking.email(recipient.value) if "@" in recipient.value else masking.phone(recipient.value)
    if recipient.kind is RecipientKind.PAYLOAD:
        return pgettext("after “to”", "the address in %(field)s", field=recipient.value)
    match recipient.kind:
        case RecipientKind.CONTACT:
            return pgettext("after “to”", "the contact")
        case RecipientKind.BUSINESS_PARTNER:
            return pgettext("after “to”", "the contacts of the business partner")
        case RecipientKind.AGENT:
            return pgettext("after “to”", "the agent who has the conversation")


def _any_of(words: list[str]) -> str:
    said = [translated(one) for one in words]
    return said[0] if len(said) == 1 else _("%(list)s or %(last)s", list=", ".join(said[:-1]), last=said[-1])
