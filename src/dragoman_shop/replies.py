"""Has what Voltfair's people answer with: its message templates, as Meta lists them, and its canned replies."""

from __future__ import annotations

from typing import Any

REMINDER = {
    "en": ("Hello {{1}}, we have answered you and would like to go on. Write back whenever it suits you.", "Marina"),
    "de": ("Hallo {{1}}, wir haben Ihnen geantwortet und helfen gern weiter. Schreiben Sie, wann es passt.", "Marina"),
}
APPOINTMENT = {
    "en": (
        "Your appointment",
        "Hello {{name}}, we expect you on {{day}} at {{time}} in our store {{store}}. Shall we keep it?",
        ("Yes, I am coming", "Another day"),
    ),
    "de": (
        "Ihr Termin",
        "Hallo {{name}}, wir erwarten Sie am {{day}} um {{time}} in unserer Filiale {{store}}. Bleibt es dabei?",
        ("Ja, ich komme", "Ein anderer Tag"),
    ),
}
DELIVERY = {
    "en": ("Good news, {{1}}: order {{2}} comes on {{3}}, between 8:00 and 14:00.", "Track it"),
    "de": ("Gute Nachricht, {{1}}: Bestellung {{2}} kommt am {{3}} zwischen 8 und 14 Uhr.", "Verfolgen"),
}
FOOTER = "Voltfair"


def _template(name: str, language: str, *components: dict[str, Any], named: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "language": language,
        "status": "APPROVED",
        "category": "UTILITY",
        "parameter_format": "NAMED" if named else "POSITIONAL",
        "components": [*components, {"type": "FOOTER", "text": FOOTER}],
        "quality_score": {"score": "GREEN"},
    }


def _reminder(language: str, body: str, sample: str) -> dict[str, Any]:
    return _template("answer_waits", language, {"type": "BODY", "text": body, "example": {"body_text": [[sample]]}})


def _appointment(language: str, header: str, body: str, buttons: tuple[str, ...]) -> dict[str, Any]:
    return _template(
        "appointment_confirmation",
        language,
        {"type": "HEADER", "format": "TEXT", "text": header},
        {"type": "BODY", "text": body},
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": title} for title in buttons]},
        named=True,
    )


def _delivery(language: str, body: str, track: str) -> dict[str, Any]:
    opens = {"type": "URL", "text": track, "url": "https://voltfair.example/orders/{{1}}"}
    return _template(
        "delivery_notice", language, {"type": "BODY", "text": body}, {"type": "BUTTONS", "buttons": [opens]}
    )


TEMPLATES: tuple[dict[str, Any], ...] = (
    *(_reminder(language, *texts) for language, texts in REMINDER.items()),
    *(_appointment(language, *texts) for language, texts in APPOINTMENT.items()),
    *(_delivery(language, *texts) for language, texts in DELIVERY.items()),
)
"""Three approved templates, in two languages."""

CANNED_REPLIES: tuple[tuple[str, str, str, str], ...] = (
    (
        "hello",
        "en",
        "Greeting",
        "Hello {{contact.first_name}}, this is {{agent.name}} of Voltfair. I am reading what you wrote and will be "
        "with you in a moment.",
    ),
    (
        "hello",
        "de",
        "Begrüßung",
        "Hallo {{contact.first_name}}, hier ist {{agent.name}} von Voltfair. Ich lese gerade, was Sie geschrieben "
        "haben, und bin gleich für Sie da.",
    ),
    ("order-number", "en", "Ask for the order number", "Could you tell me the order number? It begins with VF."),
    ("order-number", "de", "Bestellnummer erfragen", "Sagen Sie mir bitte die Bestellnummer? Sie beginnt mit VF."),
    (
        "anything-else",
        "en",
        "Anything else?",
        "Is there anything else that I can do for you, {{contact.first_name}}?",
    ),
    ("anything-else", "de", "Noch etwas?", "Kann ich sonst noch etwas für Sie tun, {{contact.first_name}}?"),
)
"""Shortcut, language, title and text."""
