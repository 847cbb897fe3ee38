"""Message templates are kept as Meta has them, whatever it answers and whatever its webhooks say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from dragoman.channels.interface import Accepted, AccountAccess
from dragoman.channels.whatsapp.templates import MOST_PAGES
from dragoman.domain.message_template import fields_of, render
from dragoman.domain.nouns import Identity
from dragoman.services import sweep
from dragoman.services.channels.synchronise_templates import (
    AFTER_FAILURE,
    EVERY,
    NO_BUSINESS_ACCOUNT,
    TemplatesFetched,
    fetch_templates,
)
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.channels import channel_accounts
from dragoman.store.handoff import templates
from dragoman.store.handoff.templates import KeptTemplate
from dragoman.web.console.channels import ADDRESS
from tests.harness import Harness
from tests.pipeline.test_channels import enter, plain

WABA = "555000"


def definition(name: str, language: str = "en", **fields: Any) -> dict[str, Any]:
    parts = [{"type": "BODY", "text": "Hello {{1}}"}]
    return {
        "name": name, "language": language, "status": "APPROVED", "category": "UTILITY", "components": parts,
        "parameter_format": "POSITIONAL", "quality_score": {"score": "GREEN"}, **fields,
    }  # fmt: skip


def has(shop: Harness, given: Sequence[Any] | Mapping[str, int]) -> None:
    """Let Meta know these templates."""
    config = shop.standin.config
    numbers = tuple(replace(number, waba_id=WABA) for number in config.numbers)
    shop.standin.config = replace(config, templates=given, numbers=numbers)


class Answers(httpx.AsyncBaseTransport):
    """Meta's side, which answers with what it is told, the last answer again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.URL] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def answering(shop: Harness, *answers: Any) -> Answers:
    """Put Meta's side out of the way for one that says *answers*."""
    made = Answers(*answers)
    shop.runtime.http._transport.hosts["graph.test"] = made  # type: ignore[attr-defined]
    return made


async def fetch(shop: Harness) -> TemplatesFetched:
    return await fetch_templates(shop.runtime, shop.tenant_id, shop.channel_account_id, COMMAND_LINE)


async def kept(shop: Harness) -> dict[tuple[str, str], KeptTemplate]:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        found = await templates.list_all(connection, shop.tenant_id, [WABA])
    return {(one.template.name, one.template.language): one for one in found}


async def notice(shop: Harness, field: str, **value: Any) -> None:
    said = {"message_template_name": "reminder", "message_template_language": "en", **value}
    body = {"entry": [{"id": WABA, "changes": [{"field": field, "value": said}]}]}
    assert (await shop.post(json.dumps(body).encode())).status_code == 200


async def test_templates_come_from_every_page(shop: Harness) -> None:
    has(shop, [definition(f"notice_{number}") for number in range(230)])
    assert await fetch(shop) == TemplatesFetched(found=230)
    assert len(await kept(shop)) == 230


async def test_what_meta_says_of_a_template_is_kept_and_can_be_sent(shop: Harness) -> None:
    parts = [
        {"type": "HEADER", "format": "TEXT", "text": "For {{who}}"},
        {"type": "BODY", "text": "Hello {{name}}"},
        {"type": "FOOTER", "text": "Shop"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Track", "url": "https://a.example/{{1}}"}]},
    ]
    has(shop, [definition("reminder", components=parts, parameter_format="NAMED")])
    await fetch(shop)
    one = (await kept(shop))["reminder", "en"]
    assert (one.template.category, one.template.quality, one.template.footer) == ("utility", "GREEN", "Shop")
    sent = render(one.template, {field.key: "x" for field in fields_of(one.template)})
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        account = await channel_accounts.load(connection, shop.tenant_id, shop.channel_account_id)
        assert await templates.get(connection, shop.tenant_id, WABA, "reminder", "en") == one
        assert await templates.list_all(connection, shop.tenant_id, [WABA], sendable=True) == [one]
    credentials = channel_accounts.unseal(account.secrets, shop.runtime.keyring.decrypt)
    client = shop.runtime.client(AccountAccess(address=account.address, token=credentials.token))
    recipient = Identity(kind="wa_id", value="436601112233")
    answer = await client.send(sent, recipient=recipient, reply_to=None, correlation="c")
    assert isinstance(answer, Accepted), answer


async def test_what_is_gone_is_marked_and_comes_back(shop: Harness) -> None:
    has(shop, [definition("reminder"), definition("reminder", "de")])
    await fetch(shop)
    shop.clock.move(minutes=1)
    has(shop, [definition("reminder", "de")])
    assert await fetch(shop) == TemplatesFetched(found=1, gone=1)
    assert {key: one.can_be_sent for key, one in (await kept(shop)).items()} == {
        ("reminder", "en"): False,
        ("reminder", "de"): True,
    }
    assert (await fetch(shop)).gone == 0
    shop.clock.move(minutes=1)
    has(shop, [definition("reminder"), definition("reminder", "de")])
    await fetch(shop)
    assert all(one.can_be_sent for one in (await kept(shop)).values())


async def test_a_template_that_cannot_be_read_is_counted_and_keeps_what_was_known(shop: Harness) -> None:
    has(shop, [definition("reminder"), definition("other")])
    await fetch(shop)
    shop.clock.move(minutes=1)
    has(shop, [definition("reminder", components="broken"), definition("late"), definition("\u0000", "x" * 99)])
    # What the nameless one is nobody knows: it may be the one that is missing.
    assert await fetch(shop) == TemplatesFetched(found=1, skipped=2, gone=0)
    assert {name for name, _ in await kept(shop)} == {"reminder", "other", "late"}
    shop.clock.move(minutes=1)
    has(shop, [definition("reminder", components=[{"type": "BODY"}]), definition("late")])
    assert await fetch(shop) == TemplatesFetched(found=1, skipped=1, gone=1)
    assert [name for (name, _), one in (await kept(shop)).items() if one.gone_at] == ["other"]


CIRCLE = {"data": [], "paging": {"cursors": {"after": "a"}, "next": "https://graph.test/"}}
REFUSAL = {"error": {"message": "Session has expired", "code": 190}}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([httpx.Response(401, json=REFUSAL)], "Session has expired (code 190)"),
        ([httpx.ConnectError("no route")], "WhatsApp could not be asked: ConnectError: no route"),
        ([httpx.ReadTimeout("late")], "WhatsApp could not be asked: ReadTimeout: late"),
        ([httpx.Response(200, content=b"<html>")], "without a readable answer"),
        ([httpx.Response(500, content=b"\x00" * 9)], "without a readable answer"),
        ([{"data": {"name": "reminder"}}], "no list of templates"),
        ([{"data": None}], "no list of templates"),
        ([{}], "no list of templates"),
        ([CIRCLE], "does not end"),
        ([CIRCLE, httpx.ConnectError("no route")], "no route"),
    ],
)
async def test_an_answer_that_is_no_list_changes_nothing(shop: Harness, answers: list[Any], said: str) -> None:
    has(shop, [definition("reminder")])
    await fetch(shop)
    before = await kept(shop)
    shop.clock.move(minutes=1)
    answering(shop, *answers)
    done = await fetch(shop)
    assert said in done.failure
    assert await kept(shop) == before
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        last = (await templates.synchronisations(connection, shop.tenant_id))[WABA]
    assert last.failure == done.failure
    assert last.succeeded_at == before["reminder", "en"].synchronised_at
    assert last.due_at == shop.clock.now() + AFTER_FAILURE


async def test_pages_without_an_end_are_given_up(shop: Harness) -> None:
    pages = [
        {"data": [], "paging": {"cursors": {"after": str(number)}, "next": "https://graph.test/"}}
        for number in range(1000)
    ]
    meta = answering(shop, *pages)
    assert "does not end" in (await fetch(shop)).failure
    assert len(meta.asked) == MOST_PAGES


async def test_a_cursor_is_never_followed_to_another_place(shop: Harness) -> None:
    elsewhere = {"data": [], "paging": {"cursors": {"after": "../../x?y=#"}, "next": "https://evil.example/"}}
    meta = answering(shop, elsewhere, {"data": []})
    assert (await fetch(shop)).failure == ""
    assert {(url.host, url.path) for url in meta.asked} == {("graph.test", f"/v24.0/{WABA}/message_templates")}


async def test_templates_are_asked_for_daily_and_after_a_failure_sooner(shop: Harness) -> None:
    has(shop, [definition("reminder")])
    assert await sweep.synchronise_templates(shop.runtime) == 1
    assert await sweep.synchronise_templates(shop.runtime) == 0
    shop.clock.at += EVERY
    answering(shop, httpx.ConnectError("no route"))
    assert await sweep.synchronise_templates(shop.runtime) == 1
    assert await sweep.synchronise_templates(shop.runtime) == 0
    shop.clock.at += AFTER_FAILURE
    assert await sweep.synchronise_templates(shop.runtime) == 1


async def test_a_notice_changes_the_status_at_once(shop: Harness) -> None:
    has(shop, [definition("reminder")])
    await fetch(shop)
    shop.clock.move(minutes=1)
    await notice(shop, "message_template_status_update", event="PAUSED", reason="LOW_QUALITY")
    await notice(shop, "message_template_quality_update", new_quality_score="RED")
    await notice(shop, "template_category_update", new_category="MARKETING")
    one = (await kept(shop))["reminder", "en"].template
    assert (one.status, one.quality, one.category) == ("PAUSED", "RED", "marketing")
    await sweep.synchronise_templates(shop.runtime)
    # It said all: nothing had to be asked.
    assert (await kept(shop))["reminder", "en"].template.status == "PAUSED"
    await fetch(shop)
    assert (await kept(shop))["reminder", "en"].template.status == "PAUSED"
    shop.clock.move(minutes=1)
    await fetch(shop)
    assert (await kept(shop))["reminder", "en"].template.status == "APPROVED"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_template_status_update", {"event": "APPROVED", "message_template_name": "new_one"}),
        ("message_template_status_update", {"event": "FLAGGED"}),
        ("message_template_components_update", {}),
    ],
)
async def test_a_notice_that_does_not_say_all_has_the_templates_asked_for(
    shop: Harness, field: str, value: dict[str, Any]
) -> None:
    has(shop, [definition("reminder")])
    await fetch(shop)
    shop.clock.move(minutes=1)
    has(shop, [definition("reminder", category="MARKETING"), definition("new_one")])
    await notice(shop, field, **value)
    assert await sweep.synchronise_templates(shop.runtime) == 1
    assert {name for name, _ in await kept(shop)} == {"reminder", "new_one"}


async def test_a_notice_that_came_while_meta_was_asked_is_not_taken_back(shop: Harness) -> None:
    has(shop, [definition("reminder")])
    await fetch(shop)
    shop.clock.move(minutes=1)
    asked, answer = asyncio.Event(), asyncio.Event()
    inner = shop.runtime.http._transport.hosts["graph.test"]  # type: ignore[attr-defined]

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            found: httpx.Response = await inner.handle_async_request(request)
            asked.set()
            await answer.wait()
            return found

    shop.runtime.http._transport.hosts["graph.test"] = Slow()  # type: ignore[attr-defined]
    fetching = asyncio.create_task(fetch(shop))
    await asked.wait()
    shop.clock.move(seconds=1)
    await notice(shop, "message_template_status_update", event="DISABLED")
    await notice(shop, "message_template_components_update")
    shop.clock.move(seconds=1)
    answer.set()
    assert (await fetching).found == 1
    assert (await kept(shop))["reminder", "en"].template.status == "DISABLED"
    # What became due meanwhile is still due.
    shop.runtime.http._transport.hosts["graph.test"] = inner  # type: ignore[attr-defined]
    assert await sweep.synchronise_templates(shop.runtime) == 1


async def test_a_late_answer_does_not_replace_a_later_one(shop: Harness) -> None:
    has(shop, [definition("reminder")])
    await fetch(shop)
    asked_at = shop.clock.now()
    shop.clock.move(minutes=5)
    has(shop, [definition("reminder", category="MARKETING"), definition("second")])
    await fetch(shop)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        early = (await templates.get(connection, shop.tenant_id, WABA, "reminder", "en")) or pytest.fail("unknown")
        old = replace(early.template, category="utility")
        await templates.save_all(connection, shop.tenant_id, WABA, [old], asked_at=asked_at)
        listed = {("reminder", "en")}
        assert await templates.mark_gone(connection, shop.tenant_id, WABA, listed=listed, asked_at=asked_at) == 0
    found = await kept(shop)
    assert found["reminder", "en"].template.category == "marketing"
    assert found["second", "en"].gone_at is None


async def test_another_tenants_templates_are_not_there(shop: Harness) -> None:
    has(shop, [definition("reminder")])
    await fetch(shop)
    other = await shop.another_tenant("other")
    assert await kept(other) == {}
    shop.clock.move(minutes=1)
    body = {"entry": [{"id": "999", "changes": [{"field": "message_template_status_update", "value": {
        "event": "PAUSED", "message_template_name": "reminder", "message_template_language": "en"}}]}]}  # fmt: skip
    assert (await shop.post(json.dumps(body).encode())).status_code == 200
    assert (await kept(shop))["reminder", "en"].template.status == "APPROVED"


@pytest.fixture
async def ana(shop: Harness) -> AsyncIterator[httpx.AsyncClient]:
    async with await enter(shop, "administrator") as client:
        yield client


async def test_an_administrator_fetches_templates_on_record(shop: Harness, ana: httpx.AsyncClient) -> None:
    has(shop, [definition("reminder"), definition("broken", components=7)])
    page = f"{ADDRESS}/{shop.channel_account_id}/templates"
    answer = await ana.post(page)
    assert answer.status_code == 303
    shown = plain(await ana.get(answer.headers["location"]))
    assert "1 template fetched, 1 could not be read" in shown
    answering(shop, httpx.Response(401, json=REFUSAL))
    failed = plain(await ana.get((await ana.post(page)).headers["location"]))
    assert "Session has expired (code 190)" in failed
    records = await shop.rows("SELECT actor_name, after FROM administrator_action ORDER BY at, action_id")
    assert [row["after"] for row in records] == [
        {"templates": 1, "skipped": 1, "gone": 0},
        {"failure": "Session has expired (code 190)"},
    ]


async def test_without_a_business_account_there_is_nothing_to_fetch(shop: Harness, ana: httpx.AsyncClient) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET waba_id = NULL")
    assert (await fetch(shop)).failure == NO_BUSINESS_ACCOUNT
    assert await sweep.synchronise_templates(shop.runtime) == 0
    answer = await ana.post(f"{ADDRESS}/{shop.channel_account_id}/templates")
    assert "Give the business account" in plain(await ana.get(answer.headers["location"]))
