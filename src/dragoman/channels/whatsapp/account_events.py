"""What Meta says of the business's own account, number and templates, and how much it matters.

Fields: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
"""

from __future__ import annotations

from dragoman.channels.interface import AccountEvent, Severity
from dragoman.channels.whatsapp.items import OtherItem
from dragoman.channels.whatsapp.wire import Object, each, table, text
from dragoman.domain.plain_text import cut

_ERRORS = frozenset(
    {
        "ACCOUNT_DELETED",
        "ACCOUNT_OFFBOARDED",
        "ACCOUNT_RESTRICTION",
        "ACCOUNT_VIOLATION",
        "DISABLED_UPDATE",
        "PARTNER_APP_UNINSTALLED",
        "PARTNER_REMOVED",
    }
)
_STATES = {"DISABLE": "error", "SCHEDULE_FOR_DISABLE": "error", "REINSTATE": "info"}
_WORDS: dict[str, Severity] = {
    "FLAGGED": "error",
    "REJECTED": "warning",
    "DECLINED": "warning",
    "DEFERRED": "warning",
    "DOWNGRADE": "warning",
    "PAUSED": "warning",
    "DISABLED": "warning",
    "PENDING_DELETION": "warning",
    "FLAGGED_TEMPLATE": "warning",
    "RED": "warning",
    "PIN_CHANGED": "warning",
    "PIN_RESET_REQUEST": "warning",
    "CRITICAL": "error",
    "WARNING": "warning",
}

_FIELDS = {
    "account_alerts": "Account alert",
    "account_review_update": "Account review",
    "account_settings_update": "Number settings",
    "account_update": "Account",
    "business_capability_update": "Business limits",
    "message_template_components_update": "Template edited",
    "message_template_quality_update": "Template quality",
    "message_template_status_update": "Template",
    "phone_number_name_update": "Display name",
    "phone_number_quality_update": "Number quality",
    "security": "Security",
    "template_category_update": "Template category",
}


def event_of(item: OtherItem) -> AccountEvent | None:
    """The event in *item*; None for what is not about an account of ours."""
    if item.field == "messages" and "code" in item.raw:
        return AccountEvent(event="ERROR", severity="warning", summary=item.reason)
    title = _FIELDS.get(item.field)
    if title is None:
        return None
    value = item.raw
    word = _word(value)
    return AccountEvent(
        event=word or item.field.upper(),
        severity=_severity(item.field, word, value),
        summary=": ".join(filter(None, (title, " ".join([word or "changed", *_details(value)])))),
        display=text(value.get("display_phone_number")),
    )


def _word(value: Object) -> str | None:
    """The word that says what happened; each field has it under a name of its own."""
    names = ("event", "decision", "new_quality_score", "alert_severity", "new_category")
    alert = text(table(value.get("alert_info")).get("alert_severity"))
    found = next((said for name in names if (said := text(value.get(name)))), alert)
    return cut(found, 80) if found else None


def _severity(field: str, word: str | None, value: Object) -> Severity:
    state = text(table(value.get("ban_info")).get("waba_ban_state"))
    if state is not None:
        return "info" if _STATES.get(state) == "info" else "error"
    if word in _ERRORS or (field == "account_review_update" and word == "REJECTED"):
        return "error"
    if field.startswith("message_template") and word == "FLAGGED":
        return "warning"
    return _WORDS.get(word or "", "info")


def _details(value: Object) -> list[str]:
    """What an operator asks next, as far as it is there."""
    violation = text(table(value.get("violation_info")).get("violation_type"))
    state = text(table(value.get("ban_info")).get("waba_ban_state"))
    restrictions = [
        found for item in each(value.get("restriction_info")) if (found := text(table(item).get("restriction_type")))
    ]
    names = ("message_template_name", "current_limit", "reason", "rejection_reason", "display_phone_number")
    named = [found for name in names if (found := text(value.get(name))) and found != "NONE"]
    alert = text(table(value.get("alert_info")).get("alert_description"))
    said = [cut(part, 200) for part in (violation, state, *restrictions, *named, alert) if part]
    return [f"({', '.join(said)})"] if said else []
