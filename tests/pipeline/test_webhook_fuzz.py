"""Whatever is done to a delivery, the router answers without a 5xx, and what was not touched is in the mailbox.

Through the real router and a real database. ``FUZZ_CASES`` says how many cases; 10,000 take some minutes. Saved bodies
are fuzzed, too, where they lie beside the checkout.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.store.database import Database
from tests import harness
from tests.conftest import SHARED
from tests.harness import PHONE_NUMBER_ID, Harness
from tests.little_shop import Calls, little_shop
from tests.unit.test_whatsapp_inbound_fuzz import anything, envelope, mutate, places

CASES = int(os.environ.get("FUZZ_CASES", "150"))
SAVED = [json.loads(p.read_text()) for p in sorted((SHARED / "data" / "whatsapp" / "webhooks").glob("*.json"))]
BODIES = [envelope(), *SAVED]
PLACES = [places(body) for body in BODIES]

_numbers = itertools.count(1)

changes = st.tuples(st.integers(0, 10**6), st.sampled_from(["drop", "retype", "wrap", "nest", "double"]), anything)
damage = st.one_of(
    st.none(),
    st.tuples(
        st.integers(0, 10**6), st.sampled_from([b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"\\u0000", b"]", b'"', b""])
    ),
)


@pytest.fixture
async def door(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    async with harness.build(database, tmp_path, little_shop(calls)) as made:
        yield made


def neighbour() -> dict[str, Any]:
    """A change with one message that nobody touches."""
    number = next(_numbers)
    message = {"from": f"4366{number:08d}", "id": f"wamid.whole.{number}", "timestamp": "1780000000", "type": "text"}
    value = {"metadata": {"phone_number_id": PHONE_NUMBER_ID}, "messages": [message | {"text": {"body": "whole"}}]}
    return {"field": "messages", "value": value}


def ours(body: dict[str, Any]) -> dict[str, Any]:
    """The body for our number, wherever it still names one."""
    for place in places(body):
        if place[-1] == "phone_number_id":
            mutate(body, place, "retype", PHONE_NUMBER_ID)
    return body


@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(BODIES) - 1), st.lists(changes, min_size=1, max_size=4), damage)
async def test_a_damaged_delivery_costs_nothing_but_itself(
    door: Harness, which: int, done: list[tuple[int, str, Any]], damaged: tuple[int, bytes] | None
) -> None:
    body = ours(copy.deepcopy(BODIES[which]))
    for place, how, new in done:
        mutate(body, PLACES[which][place % len(PLACES[which])], how, new)
    whole = [neighbour(), neighbour()]
    entries: list[Any] = [{"id": "1", "changes": [whole[0]]}, {"id": "1", "changes": [whole[1]]}]
    middle = body.get("entry")
    entries[1:1] = middle if isinstance(middle, list) else [middle]
    content = json.dumps({**body, "object": "whatsapp_business_account", "entry": entries}).encode("utf-8")
    if damaged is not None:
        place, inserted = damaged
        place %= len(content)
        content = content[:place] + inserted + content[place + 1 :]
    answer = await door.post(content)
    assert answer.status_code < 500, answer.text
    if damaged is None:
        assert answer.status_code == 200
        kept = await door.rows(
            "SELECT 1 FROM mailbox WHERE channel_message_id = ANY($1)",
            [change["value"]["messages"][0]["id"] for change in whole],
        )
        assert len(kept) == 2
