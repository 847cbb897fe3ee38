"""The customer service window: one value for the drawer, for agents and for every sender."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from dragoman.store.sending import service_windows
from tests import second_number
from tests.harness import Harness
from tests.pipeline.test_channels import enter

AD = {"source_type": "ad", "source_id": "1", "source_url": "https://example.com/ad", "headline": "Spring sale"}


async def drawer(shop: Harness, reader: str) -> str:
    """What the summary of the newest conversation says of the window."""
    (session,) = await shop.rows("SELECT session_id FROM session ORDER BY started_at DESC LIMIT 1")
    async with await enter(shop, reader) as client:
        page = await client.get(f"/communications/automation/logs/{session['session_id']}")
    found = re.search(r"<dt>Service window</dt><dd>(.*?)</dd>", page.text, re.DOTALL)
    assert found, page.text[:2000]
    return re.sub(r"<[^>]+>", "", found[1]).strip()


async def closes(shop: Harness) -> datetime | None:
    (session,) = await shop.rows("SELECT contact_id, channel_account_id FROM session ORDER BY started_at DESC LIMIT 1")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        return await service_windows.closes_at(connection, shop.tenant_id, **session, now=shop.clock.now())


@pytest.mark.parametrize(("referral", "hours"), [(None, 24), (AD, 72), ({**AD, "source_type": "post"}, 72)])
async def test_the_drawer_says_until_when_every_sender_may_write(
    shop: Harness, referral: dict[str, Any] | None, hours: int
) -> None:
    began = shop.clock.now()
    await shop.send({"type": "text", "text": {"body": "answer"}, **({"referral": referral} if referral else {})})
    await shop.settle()
    until = await closes(shop)
    assert until is not None
    assert abs((until - began).total_seconds() - hours * 3600) <= 2
    shop.clock.move(hours=hours - 1)
    assert (await drawer(shop, "auditor")).startswith("Open until")
    shop.clock.move(hours=2)
    said = await drawer(shop, "administrator")
    assert said.startswith("Closed")
    assert said.endswith("templates only")


async def test_a_later_message_of_24_hours_does_not_shorten_the_window_of_an_advertisement(shop: Harness) -> None:
    await shop.send({"type": "text", "text": {"body": "answer"}, "referral": AD})
    await shop.settle()
    first = await closes(shop)
    shop.clock.move(hours=1)
    await shop.say("answer")
    await shop.settle()
    assert await closes(shop) == first
    # What they write to another number of ours opens nothing here.
    await second_number.add(shop)
    shop.clock.move(hours=80)
    await second_number.say(shop, "answer")
    assert await closes(shop) == first
