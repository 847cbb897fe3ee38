"""Real webhook bodies through the whole pipeline: what is a message stands in a transcript, nothing is lost.

An extra over data that lies beside a checkout of the project; left out where it does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED
from tests.world import PHONE_NUMBER_ID, World

BODIES = sorted((SHARED / "data" / "whatsapp" / "webhooks").glob("*.json"))

pytestmark = pytest.mark.skipif(not BODIES, reason="no saved webhook bodies beside this checkout")


def rewritten(path: Path) -> tuple[bytes, int, int]:
    """The body for our number, with how many messages and statuses are in it."""
    body = json.loads(path.read_text())
    messages = statuses = 0
    for entry in body.get("entry", []):
        for change in entry.get("changes", []):
            value: dict[str, Any] = change.get("value", {})
            if "metadata" in value:
                value["metadata"]["phone_number_id"] = PHONE_NUMBER_ID
            if change.get("field") == "messages":
                messages += len(value.get("messages", []))
                statuses += len(value.get("statuses", []))
    return json.dumps(body).encode(), messages, statuses


async def test_every_saved_body_is_accepted_and_nothing_of_it_is_lost(shop: World) -> None:
    sent = 0
    for path in BODIES:
        body, messages, statuses = rewritten(path)
        response = await shop.post(body)
        assert response.status_code == 200, path.name
        (raw,) = await shop.rows("SELECT items FROM raw_delivery ORDER BY delivery_id DESC LIMIT 1")
        results = [item["result"] for item in raw["items"]]
        if messages or statuses:
            assert results.count("message") + results.count("status") + results.count("duplicate") == (
                messages + statuses
            ), path.name
        else:
            assert set(results) <= {"kept"}, path.name
        assert all(item.get("reason") for item in raw["items"] if item["result"] in ("kept", "duplicate"))
        sent += 1
    await shop.settle()
    assert sent == len(BODIES) > 80
    waiting = await shop.rows("SELECT content FROM mailbox WHERE progress <> 'done'")
    assert waiting == []
    (accepted,) = await shop.rows("SELECT count(*) AS n FROM mailbox")
    (written,) = await shop.rows("SELECT count(*) AS n FROM message WHERE sender = 'contact'")
    assert accepted["n"] == written["n"] > 40
    without_outcome = await shop.rows("SELECT 1 FROM mailbox WHERE outcome IS NULL")
    assert without_outcome == []
