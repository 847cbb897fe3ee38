"""In which language a contact is answered, and why, from the message to the page."""

from __future__ import annotations

import httpx
import pytest

from dragoman.dispatch.texts import sentence
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.inbound.accept_email import accept_email
from tests.harness import Harness
from tests.pipeline.test_email_channel import mail, mailbox
from tests.pipeline.test_received_contents import ana

__all__ = ["ana", "mailbox"]

PHONE = "447700900123"
"""A British number: without a sentence its contact is answered in English."""

GERMAN = "Guten Tag, ich möchte gerne mit jemandem sprechen, der mir helfen kann"


async def say(shop: Harness, text: str) -> None:
    await shop.say(text, phone=PHONE)
    await shop.settle()


async def replies(shop: Harness) -> list[str]:
    rows = await shop.rows("SELECT content->>'body' AS body FROM message WHERE sender = 'bot' ORDER BY at, ordinal")
    return [row["body"] for row in rows]


async def recognised(shop: Harness) -> list[tuple[str, str]]:
    rows = await shop.rows("SELECT payload FROM audit_event WHERE type = 'language.recognized' ORDER BY at, position")
    return [(row["payload"]["previous"], row["payload"]["language"]) for row in rows]


async def test_a_sentence_decides_and_holds_for_what_follows(shop: Harness) -> None:
    await say(shop, "Hallo")
    assert (await replies(shop))[-1].startswith("Hello")
    await say(shop, "Ich habe eine Frage zu meiner Bestellung")
    assert (await replies(shop))[-1] == sentence("unclear", "de")
    # Too short to say anything of its language.
    await say(shop, "Hallo")
    assert (await replies(shop))[-1].startswith("Hallo")
    assert await recognised(shop) == [("en", "de")]
    await say(shop, "I would rather go on in English, if that is possible")
    assert (await replies(shop))[-1] == sentence("unclear", "en")
    assert await recognised(shop) == [("en", "de"), ("de", "en")]
    assert await shop.rows("SELECT locale, language_read FROM contact") == [{"locale": "en", "language_read": True}]
    # It is on record once, and no breach of it.
    await say(shop, "I would like to know when you are open")
    assert len(await recognised(shop)) == 2
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_text_that_agrees_makes_the_guess_known(shop: Harness) -> None:
    await say(shop, "I would like to know when you are open")
    assert await recognised(shop) == [("en", "en")]
    assert await shop.rows("SELECT locale, language_read FROM contact") == [{"locale": "en", "language_read": True}]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "text", "text": {"body": GERMAN}, "context": {"forwarded": True}},
        {"type": "text", "text": {"body": "Waar blijft mijn bestelling, ik wacht al een week"}},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": GERMAN}, "phones": [{"phone": "+4366012345"}]}]},
    ],
    ids=["passed on", "a language that the bot has not", "a card"],
)
async def test_what_the_contact_did_not_write_or_the_bot_cannot_speak_decides_nothing(
    shop: Harness, message: dict[str, object]
) -> None:
    await shop.send(message, phone=PHONE)
    await shop.settle()
    assert await recognised(shop) == []
    assert await shop.rows("SELECT locale, language_read FROM contact") == [{"locale": "en", "language_read": False}]


async def test_the_page_says_where_the_language_came_from_at_the_step_that_used_it(
    shop: Harness, ana: httpx.AsyncClient
) -> None:
    await say(shop, "Hallo")
    (row,) = await shop.rows("SELECT session_id FROM session")
    address = f"/communications/automation/logs/{row['session_id']}"
    page = (await ana.get(address)).text
    assert "Language: English, from the country code of their number, until a text shows it" in page
    await say(shop, GERMAN)
    page = (await ana.get(address)).text
    assert "Language recognised" in page
    assert "German from here on, as the text is in it" in page
    assert "from what they wrote" in page


async def test_a_mail_is_answered_in_its_language(shop: Harness, mailbox: object) -> None:
    rows = await shop.rows("SELECT channel_account_id FROM channel_account WHERE channel = 'email'")
    body = "Guten Tag,\n\nich habe eine Frage zu meiner Bestellung. Wann wird sie geliefert?\n\nAna"
    await accept_email(shop.runtime, shop.tenant_id, rows[0]["channel_account_id"], bytes(mail(body, "1@example.org")))
    await shop.settle()
    assert (await replies(shop))[-1] == sentence("unclear", "de")
    assert await recognised(shop) == [("en", "de")]
