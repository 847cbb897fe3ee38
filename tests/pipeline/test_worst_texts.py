"""Forty messages of the worst shape for every renderer in one conversation: its pages cost what their length costs.

Nothing is measured in seconds: the pages of a conversation of plain texts of the same length are the measure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from dragoman.domain.content import FormReply, Order, OrderItem, Text, to_json
from dragoman.store.database import Database
from dragoman.web.console import chat_text
from tests import harness
from tests.db.tenant_fixture import TenantFixture, bearer
from tests.growth import SHAPES
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.waiting import PATIENCE_S

MESSAGES = 40
LENGTH = 4096
DEARER = 12
"""So many times a plain text may a text full of marks cost: each of its characters may become an element."""

ADDRESS = "/communications/automation/logs"
DRAWER = {"HX-Request": "true", "HX-Target": "aside#drawer"}


@pytest.fixture
async def house(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    async with harness.build(database, tmp_path, little_shop(calls)) as made:
        yield made


def _worst() -> str:
    """The text that takes longest to render, of all the shapes that there are."""
    texts = [text for shape in SHAPES if (text := shape.text(LENGTH)[:LENGTH]).isprintable() or "\n" in text]
    texts = [text for text in texts if "\0" not in text and text.encode("utf-8", "ignore").decode() == text]

    def cost(text: str) -> float:
        begin = time.process_time()
        chat_text.chat(text)
        return time.process_time() - begin

    return max(texts, key=lambda text: min(cost(text) for _ in range(3)))


async def _conversation(tenant: TenantFixture, texts: list[str]) -> UUID:
    session_id = await tenant.session(message_count=len(texts))
    for ordinal, text in enumerate(texts, 1):
        await tenant.message(session_id, ordinal, to_json(Text(text)))
    return session_id


async def _drawer(house: Harness, session_id: UUID, headers: dict[str, str]) -> float:
    """The processor's time for the drawer, at the best of three."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        answer = await house.web.get(f"{ADDRESS}/{session_id}", headers={**headers, **DRAWER})
        found.append(time.process_time() - begin)
        assert answer.status_code == 200
        assert answer.text.count('class="bubble') >= MESSAGES or answer.text.count('id="m-') >= MESSAGES
    return min(found)


async def test_the_worst_texts_cost_a_drawer_what_their_length_costs(house: Harness) -> None:
    tenant = TenantFixture(house.runtime, "shop", house.tenant_id, house.channel_account_id)
    headers = bearer(await tenant.token("administrator"))
    plain = await _conversation(tenant, ["hello world, where is it? " * (LENGTH // 26)] * MESSAGES)
    worst = await _conversation(tenant, [_worst()] * MESSAGES)
    dear, cheap = await _drawer(house, worst, headers), await _drawer(house, plain, headers)
    assert dear <= DEARER * cheap


async def test_the_process_answers_while_a_page_of_the_worst_texts_is_made(
    house: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renderer waits here until somebody else was answered; on the event loop it would wait for ever."""
    tenant = TenantFixture(house.runtime, "shop", house.tenant_id, house.channel_account_id)
    headers = bearer(await tenant.token("administrator"))
    session_id = await _conversation(tenant, ["hello"])
    loop, answered = asyncio.get_running_loop(), []

    def slow(text: str) -> str:
        asked = asyncio.run_coroutine_threadsafe(house.web.get("/healthz"), loop)
        answered.append(asked.result(timeout=PATIENCE_S).status_code)
        return text

    from dragoman.web.console import page, plain  # noqa: PLC0415 - what is replaced here

    monkeypatch.setitem(page.environment.filters, "chat", slow)
    monkeypatch.setattr(plain, "_written", lambda _: slow("hello"))
    addresses = (
        f"{ADDRESS}/{session_id}",
        *(f"{ADDRESS}/{session_id}/{part}" for part in ("transcript", "newer", "print", "text")),
    )
    # Filters are looked up when a template is compiled.
    monkeypatch.setattr(page, "environment", page.environment.overlay(cache_size=50))
    for number, address in enumerate(addresses, 1):
        answer = await house.web.get(address, headers={**headers, **(DRAWER if number == 1 else {})})
        assert answer.status_code == 200
        assert len(answered) >= number, address
    assert set(answered) == {200}


async def test_an_order_with_an_impossible_price_cuts_nothing_off(house: Harness) -> None:
    tenant = TenantFixture(house.runtime, "shop", house.tenant_id, house.channel_account_id)
    headers = bearer(await tenant.token("administrator"))
    prices = ("9e999999", "-9e999999", "1e-999999", "nan", "Infinity", "sNaN", "", None)
    quantities = ("10", "9e999999", "x", "NaN")
    items = [OrderItem(product="p", quantity=q, price=p, currency="EUR") for p in prices for q in quantities]
    orders = [Order(catalog_id="c", text=None, items=(item, item)) for item in items]
    session_id = await tenant.session(message_count=len(orders) + 2)
    for ordinal, order in enumerate(orders, 1):
        await tenant.message(session_id, ordinal, to_json(order))
    form = FormReply(name="f", fields={"a": 10**400, "b": {"c": [None, 1e308]}})
    await tenant.message(session_id, len(orders) + 1, to_json(form))
    await tenant.message(session_id, len(orders) + 2, to_json(Text("the last word")))
    for part in ("", "/print", "/text", "/transcript"):
        answer = await house.web.get(f"{ADDRESS}/{session_id}{part}", headers={**headers, **({} if part else DRAWER)})
        assert answer.status_code == 200
        assert "the last word" in answer.text, part
