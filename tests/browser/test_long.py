"""A long conversation: it opens at the newest, others come as one scrolls, and every link leads where it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from dragoman.ledger import pages
from dragoman.ledger.pages import PageAnchor
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import LOGS, Visitor
from tests.db.tenant_fixture import TenantFixture
from tests.db.test_window import long_session, reading

LENGTH = 400
EVENTS = 3 * LENGTH


@pytest.fixture(scope="module")
def archive(site: BrowserServer) -> tuple[TenantFixture, UUID]:
    """A tenant with one long conversation; the site's own is not touched."""
    tenant = site.do(TenantFixture.build(site.harness.runtime, "archive"))
    site.do(tenant.user("administrator"))
    site.do(_seal(tenant, site))
    return tenant, site.do(long_session(tenant, LENGTH))


async def _seal(tenant: TenantFixture, site: BrowserServer) -> None:
    """Credentials that can be read: the webhook looks at those of every account, and other tests write to it."""
    (account,) = await site.harness.rows("SELECT secrets FROM channel_account")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET secrets = $1", account["secrets"])


@pytest.fixture
def keeper(browser: Browser, site: BrowserServer, archive: tuple[TenantFixture, UUID]) -> Iterator[Visitor]:
    entered = Visitor.enter(browser, site, viewport={"width": 1440, "height": 900})
    entered.sign_in(f"administrator@{archive[0].slug}.example")
    yield entered
    entered.leave()


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator(".dr [id]").evaluate_all("(all) => all.map((element) => element.id)")
    return found


def test_it_opens_at_the_newest_and_scrolls_back(keeper: Visitor, archive: tuple[TenantFixture, UUID]) -> None:
    page = keeper.open(archive[1])
    chat = page.locator(".chat")
    expect(page.locator(f".msg[data-ordinal='{LENGTH}']")).to_be_in_viewport()
    expect(page.locator(".timeline #e1200")).to_be_in_viewport()
    expect(page.locator(".msg[data-ordinal='350']")).to_have_count(0)
    # Not at the end of what there is: what comes before is fetched in time.
    chat.evaluate("(pane) => { pane.scrollTop = 300; }")
    seen = page.locator(".msg[data-ordinal='355']")
    before = seen.bounding_box()
    expect(page.locator(".msg[data-ordinal='301']")).to_have_count(1)
    after = seen.bounding_box()
    # What one was looking at stands where it stood.
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 2
    found = ids(page)
    assert len(found) == len(set(found))
    expect(page.locator(".chat .day")).to_have_count(len(set(page.locator(".chat .day").all_inner_texts())))


def test_a_link_leads_to_a_message_and_a_step_however_far(keeper: Visitor, archive: tuple[TenantFixture, UUID]) -> None:
    tenant, session_id = archive

    async def eleventh() -> str:
        async with reading(tenant, session_id) as read:
            of = (read.connection, read.tenant_id, read.conversation)
            part = await pages.messages(*of, PageAnchor(side="after", number=10), cutoff=read.cutoff, limit=1)
            return f"m-{part.items[0].message_id}"

    anchor = keeper.site.do(eleventh())
    page = keeper.page
    page.goto(f"{LOGS}/{session_id}#{anchor}")
    lit = page.locator(f".msg.lit[id='{anchor}']")
    expect(lit).to_be_in_viewport()
    expect(lit).to_be_focused()
    # From there to its steps, which are far from the newest, too, and back.
    lit.locator(".steps").click()
    group = page.locator(".timeline .tl-g.lit")
    expect(group).to_be_in_viewport()
    expect(group).to_contain_text("message 11”")
    group.get_by_role("link").click()
    expect(lit).to_be_in_viewport()
    page.evaluate("location.hash = '#e700'")
    expect(page.locator(".timeline .ev.lit[id=e700]")).to_be_in_viewport()
    found = ids(page)
    assert len(found) == len(set(found))
    page.evaluate("location.hash = '#m-00000000-0000-0000-0000-000000000000'")
    expect(page.locator("#announce")).to_have_text(re.compile("not in this conversation"))


def test_both_ends_and_the_errors_are_a_key_or_a_button_away(
    keeper: Visitor, archive: tuple[TenantFixture, UUID]
) -> None:
    page = keeper.open(archive[1])
    page.get_by_role("region", name="Transcript").get_by_role("button", name="To the beginning").click()
    expect(page.locator(".msg[data-ordinal='1']")).to_be_in_viewport()
    later = page.get_by_role("button", name="Later messages")
    later.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".msg[data-ordinal='51']")).to_have_count(1)
    page.get_by_role("region", name="Transcript").get_by_role("button", name="To the newest").click()
    expect(page.locator(f".msg[data-ordinal='{LENGTH}']")).to_be_in_viewport()
    page.locator("#dr-name").focus()
    page.keyboard.press("e")
    # Every fiftieth event has failed, unless it is also a seventh.
    failed = EVENTS // 50 - EVENTS // 350
    expect(page.locator("#announce")).to_have_text(f"{failed} events shown")
    expect(page.locator(".timeline .ev")).to_have_count(failed)
    expect(page.get_by_role("button", name=re.compile("Errors"))).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("e")
    expect(page.locator(".timeline #e1200")).to_be_in_viewport()
