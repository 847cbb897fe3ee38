"""What goes by mail at Voltfair: who writes, the templates of its own mails, and the rules that send them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAILBOX, MAILBOX_NAME = "help@voltfair.example", "Voltfair service"
NEWSLETTER, NEWSLETTER_NAME = "news@voltfair.example", "Voltfair news"
"""The second mailbox has no mail server yet: what it would send waits, and says so."""

TRIGGERS = tuple(sorted(Path(__file__).with_name("triggers").glob("*.yaml")))


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerMail:
    """A mail that a customer writes, so many hours before now."""

    hours_ago: float
    sender: str
    name: str
    subject: str
    text: str


MAILS = (
    CustomerMail(
        hours_ago=30.0, sender="hedwig.larsen@example.org", name="Hedwig Larsen", subject="Opening hours",
        text="Hello,\n\nwhat are the opening hours of your store in Vienna?\n\nKind regards\nHedwig Larsen",
    ),
    CustomerMail(
        hours_ago=21.0, sender="tomas.novak@example.com", name="Tomáš Novák", subject="Order VF-48213",
        text="Where is my order VF-48213?",
    ),
    CustomerMail(
        hours_ago=5.0, sender="ines.ferreira@example.net", name="Inês Ferreira", subject="Return",
        text="I would like to return something that I ordered.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MailTemplate:
    """A template as it is written on its page."""

    name: str
    label: str
    source: dict[str, Any]


def _variable(name: str, sample: str, *, required: bool = False, description: str = "") -> dict[str, Any]:
    return {"name": name, "kind": "text", "required": required, "sample": sample, "description": description}


_STYLE = (
    "<style>body{font-family:Georgia,serif;color:#1d2433} .card{max-width:560px;margin:24px auto;padding:24px;"
    "border:1px solid #d8dde6;border-radius:8px} h1{font-size:20px;margin:0 0 12px} "
    ".button{display:inline-block;padding:10px 18px;border-radius:6px;background:#1d4ed8;color:#ffffff;"
    "text-decoration:none} .small{color:#5b6475;font-size:13px}</style>"
)

TEMPLATES = (
    MailTemplate(
        name="skill_error",
        label="A skill has failed",
        source={
            "subject": "Skill error: {{ skill or 'unknown skill' }} for {{ contact_name }}",
            "html": _STYLE
            + '<div class="card"><h1>A skill has failed</h1><p>{{ contact_name }} asked for <b>{{ intent }}</b>, and '
            "<b>{{ skill }}</b> did not answer.</p><p>{{ reason }}</p>"
            '<p><a class="button" href="{{ link }}">Open the conversation</a></p></div>',
            "text": None,
            "variables": [
                _variable("contact_name", "Ana Lima"),
                _variable("intent", "orders.status"),
                _variable("skill", "orders.status"),
                _variable("reason", "The warehouse did not answer within 5 seconds."),
                _variable("link", "https://bot.voltfair.example/"),
            ],
        },
    ),
    MailTemplate(
        name="waiting_customer",
        label="A customer waits for an agent",
        source={
            "subject": "{{ contact_name }} has waited for {{ waiting_minutes }} minutes",
            "html": None,
            "text": "{{ contact_name }} has been waiting for an agent for {{ waiting_minutes }} minutes.\n\n"
            "Their last message:\n{{ last_message }}\n\n{{ link }}\n",
            "variables": [
                _variable("contact_name", "Ana Lima"),
                {"name": "waiting_minutes", "kind": "number", "required": False, "sample": 12, "description": ""},
                _variable("last_message", "I want to talk to a person"),
                _variable("link", "https://bot.voltfair.example/"),
            ],
        },
    ),
    MailTemplate(
        name="order_shipped",
        label="An order is on its way",
        source={
            "subject": "Your order {{ order }} is on its way",
            "html": _STYLE
            + '<div class="card"><h1>It is on its way, {{ customer }}</h1><p>Your order <b>{{ order }}</b> left our '
            "warehouse today. It will be with you {{ when }}.</p>"
            '<p><a class="button" href="https://voltfair.example/orders/{{ order }}">Track it</a></p>'
            '<p class="small">Voltfair, Mariahilfer Straße 1, Vienna</p></div>',
            "text": None,
            "variables": [
                _variable("order", "VF-48213", required=True, description="As it stands on the invoice"),
                _variable("customer", "Ana"),
                _variable("when", "on Thursday"),
            ],
        },
    ),
    MailTemplate(
        name="how_was_it",
        label="How was it?",
        source={
            "subject": "How was it, {{ contact_name }}?",
            "html": None,
            "text": "Dear {{ contact_name }},\n\nyou wrote to us yesterday. Did we help you? Just answer this mail.\n\n"
            "Your Voltfair service\n",
            "variables": [_variable("contact_name", "Ana Lima")],
        },
    ),
)
