"""What must not be stored stands nowhere afterwards: not in a table, not in a file, not in a line of the log."""

from __future__ import annotations

import asyncio
import json
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.redaction import READY
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.inbound import accept_email, redaction
from dragoman.store.accounts.actions import Administrator
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests.harness import Harness
from tests.pipeline.test_erasure import tables

OFFICER = Administrator("Dora Officer")
CARD, SPACED, IBAN = "4111111111111111", "5500 0000 0000 0004", "AT611904300234573201"
TOKEN, MEMBER = "sk_live_" + "a1B2" * 8, "M-12345678"
VALUES = (CARD, SPACED, SPACED.replace(" ", ""), IBAN, TOKEN, MEMBER)


async def texts(shop: Harness) -> list[str]:
    rows = await shop.rows("SELECT content FROM message WHERE sender = 'contact' ORDER BY at, ordinal")
    return [json.dumps(row["content"], ensure_ascii=False) for row in rows]


async def found(shop: Harness) -> list[dict[str, int]]:
    rows = await shop.rows("SELECT payload FROM audit_event WHERE type = 'message.redacted' ORDER BY at, position")
    return [row["payload"]["found"] for row in rows]


async def test_it_stands_nowhere(shop: Harness, database_urls: DatabaseURLs, tmp_path: Path) -> None:
    await redaction.add(shop.runtime, shop.tenant_id, OFFICER, "member number", r"\bM-\d{8}\b")
    media_id = await shop.upload(b"%PDF-1.7 nothing", "application/pdf")
    said: list[dict[str, Any]] = [
        {"type": "text", "text": {"body": f"answer: {CARD} and {SPACED}, {IBAN}"}},
        {"type": "document", "document": {"id": media_id, "filename": f"{IBAN}.pdf", "caption": f"token {TOKEN}"}},
        {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": MEMBER, "address": CARD}},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": f"card {CARD}"}}]},
        {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {
            "name": "flow", "body": "Sent", "response_json": json.dumps({"customer_id": CARD, "n": int(CARD)})}}},
        {"type": "unknown_to_us", "unknown_to_us": {"words": f"{SPACED} {MEMBER}"}},
    ]  # fmt: skip
    for message in said:
        await shop.send(message, name=f"Ana {CARD}")
        await shop.settle()
    assert len(await texts(shop)) == len(said)
    assert '"fields": {"n": "[card number redacted]", "customer_id": "[card number redacted]"}' in "".join(
        await texts(shop)
    )
    async with owner_connection(database_urls.owner) as owner:
        for table in await tables(owner):
            rows = await owner.fetch(f'SELECT row_to_json(t)::text AS row FROM "{table}" t')
            text = "\n".join(row["row"] for row in rows)
            held = [v for v in VALUES if v in text or v.encode().hex() in text]
            # The pattern itself is not a member's number.
            assert held == [], table
    files = [path for path in (tmp_path / "media").rglob("*") if path.is_file()]
    assert [v for path in files for v in VALUES if v.encode() in path.read_bytes()] == []
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_the_timeline_says_how_often_and_never_what(shop: Harness) -> None:
    await shop.say(f"answer: {CARD} and {SPACED}, {IBAN}")
    await shop.settle()
    assert await found(shop) == [{"card": 2, "iban": 1}]
    (text,) = await texts(shop)
    assert "answer: [card number redacted] and [card number redacted], [bank account redacted]" in text
    types = [row["type"] for row in await shop.rows("SELECT type FROM audit_event ORDER BY position")]
    assert types[1:4] == ["message.received", "message.redacted", "contact.resolved"]


async def test_what_is_clean_is_kept_as_it_came(shop: Harness) -> None:
    await shop.say("answer please, order 4711")
    await shop.settle()
    assert await found(shop) == []
    rows = await shop.rows("SELECT body FROM raw_delivery")
    assert [b"order 4711" in row["body"] for row in rows].count(True) == 1
    assert await shop.rows("SELECT 1 FROM mailbox WHERE redacted IS NOT NULL") == []


async def test_it_comes_again_and_is_the_same_message(shop: Harness) -> None:
    await shop.say(f"answer: {CARD}")
    (raw,) = await shop.rows("SELECT items FROM raw_delivery")
    value = {
        "metadata": {"phone_number_id": "100200300400", "display_phone_number": "1"},
        "contacts": [{"wa_id": "436601112233", "profile": {"name": "Ana Lima"}}],
        "messages": [
            {"from": "436601112233", "id": "wamid.again", "timestamp": "1790000000", "type": "text",
             "text": {"body": f"answer: {CARD}"}}
        ],
    }  # fmt: skip
    body = json.dumps({"object": "whatsapp_business_account", "entry": [
        {"id": "1", "changes": [{"field": "messages", "value": value}]}]}).encode()  # fmt: skip
    for _ in range(2):
        assert (await shop.post(body)).status_code == 200
    assert raw["items"]
    rows = await shop.rows("SELECT 1 FROM mailbox WHERE channel_message_id = 'wamid.again'")
    assert len(rows) == 1


async def test_a_rule_that_is_off_finds_nothing_and_others_go_on(shop: Harness) -> None:
    await redaction.turn(shop.runtime, shop.tenant_id, OFFICER, "iban", on=False)
    await shop.say(f"answer: {CARD} {IBAN}")
    await shop.settle()
    assert await found(shop) == [{"card": 1}]
    assert IBAN in (await texts(shop))[0]
    await redaction.turn(shop.runtime, shop.tenant_id, OFFICER, "iban", on=True)
    await shop.say(f"answer: {IBAN}")
    await shop.settle()
    assert (await found(shop))[1:] == [{"iban": 1}]


async def test_the_first_delivery_after_the_machine_began_is_cleaned(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "time", SimpleNamespace(monotonic=lambda: 0.5))
    assert await redaction.rules_of(shop.runtime, shop.tenant_id) == tuple(READY.values())


async def test_another_process_learns_of_a_change(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await redaction.rules_of(shop.runtime, shop.tenant_id)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute('UPDATE tenant SET settings = settings || \'{"redaction": {"off": ["card"]}}\'::jsonb')
    assert await redaction.rules_of(shop.runtime, shop.tenant_id) == before
    monkeypatch.setattr(redaction, "RULES_SECONDS", 0.0)
    assert [rule.name for rule in await redaction.rules_of(shop.runtime, shop.tenant_id)] == ["iban", "token"]


async def test_a_mail_loses_it_too(shop: Harness) -> None:
    account = ChannelAccount(
        channel_account_id=shop.runtime.source.new_id(), channel="email", address="help@shop.example",
        display="help@shop.example", name="Help", secrets=shop.runtime.keyring.encrypt(b"{}"),
    )  # fmt: skip
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await channel_accounts.add(connection, shop.tenant_id, account, waba_id=None, now=shop.clock.now())
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = "Ana <a@example.org>", account.address, "<1@example.org>"
    mail["Subject"] = f"about {CARD}"
    mail.set_content(f"answer {CARD}", cte="base64")
    for _ in range(2):
        await accept_email.accept_email(shop.runtime, shop.tenant_id, account.channel_account_id, mail.as_bytes())
    await shop.settle()
    assert await found(shop) == [{"card": 2}]
    (row, *_) = await shop.rows("SELECT body FROM raw_delivery")
    assert CARD.encode() not in row["body"]
    assert b"About" in row["body"] or b"about" in row["body"]


async def test_changes_are_on_record_and_looked_at(shop: Harness) -> None:
    given: tuple[Any, UUID, Administrator] = (shop.runtime, shop.tenant_id, OFFICER)
    await redaction.add(*given, "member number", r"M-\d{8}")
    with pytest.raises(AlreadyTakenError):
        await redaction.add(*given, "member number", r"N-\d{8}")
    with pytest.raises(ConfigurationError, match="too broad"):
        await redaction.add(*given, "all", ".")
    with pytest.raises(NotFoundError):
        await redaction.remove(*given, "nothing")
    with pytest.raises(NotFoundError):
        await redaction.turn(*given, "nothing", on=False)
    await redaction.turn(*given, "card", on=False)
    await redaction.turn(*given, "card", on=False)
    await redaction.remove(*given, "member number")
    rows = await shop.rows("SELECT action, before, after, actor_name FROM administrator_action ORDER BY action_id")
    assert {(row["action"], row["actor_name"]) for row in rows} == {("redaction.changed", "Dora Officer")}
    assert [(row["after"]["off"], [*row["after"]["patterns"]]) for row in rows] == [
        ([], ["member number"]), (["card"], ["member number"]), (["card"], [])
    ]  # fmt: skip


async def test_the_command_line(shop: Harness, database_urls: DatabaseURLs, tmp_path: Path) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_DATA_DIR": str(tmp_path / "cli"),
        "DRAGOMAN_SECRET_KEY": shop.runtime.settings.secret_key,
    }

    async def run(*words: str) -> Any:
        command = ["redaction", *words, "--tenant", "shop"]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, command)

    assert (await run("off", "iban")).exit_code == 0
    assert (await run("add", "member number", r"\bM-\d{8}\b")).exit_code == 0
    listed = json.loads((await run("list", "--json")).stdout)
    assert [(rule["rule"], rule["on"]) for rule in listed] == [
        ("card", True), ("iban", False), ("token", True), ("member number", True)
    ]  # fmt: skip
    tried = await run("try", f"{CARD} {IBAN} {MEMBER}")
    assert tried.stdout == f"[card number redacted] {IBAN} [member number redacted]\n"
    assert (await run("on", "iban")).exit_code == 0
    assert (await run("remove", "member number")).exit_code == 0
    assert "too broad" in str((await run("add", "all", ".")).exception)
