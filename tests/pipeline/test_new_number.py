"""A number that was added a moment ago under an app that is known already is heard at once, by its own tenant."""

from __future__ import annotations

from tests.harness import Harness


async def test_a_number_is_heard_as_soon_as_it_is_there(shop: Harness) -> None:
    await shop.say("hello")
    await shop.settle()
    other = await shop.another_tenant("other")
    await other.say("hello", phone="436601112244")
    await other.settle()
    assert [row["contact_phone"] for row in await other.rows("SELECT contact_phone FROM session")] == ["+436601112244"]
    assert await kept(other, "436601112244") >= 1
    assert await kept(shop, "436601112244") == 0


async def kept(harness: Harness, phone: str) -> int:
    """Count the deliveries of the tenant that name *phone*."""
    rows = await harness.rows("SELECT convert_from(body, 'UTF8') AS body FROM raw_delivery")
    return sum(phone in row["body"] for row in rows)
