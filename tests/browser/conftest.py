"""The pages behind a real server, a Chromium, and axe-core, once for all browser tests of a worker.

What stands on ``site`` is there to be looked at: whoever writes takes a tenant of their own, ``own``. A test that
changes what others look at fails.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from dragoman.store import embedded
from tests.browser import browser_server as servers
from tests.browser.axe import axe_source
from tests.browser.browser_server import BrowserServer
from tests.waiting import PATIENCE_S

LOGS = "/communications/automation/logs"

PATIENCE_MS = PATIENCE_S * 1000
expect.set_options(timeout=PATIENCE_MS)

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that lie here."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


def chromium() -> str | None:
    """The Chromium of this machine; None leaves the choice to Playwright, which may have its own."""
    named = os.environ.get("CHROMIUM")
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return named or next((found for name in names if (found := shutil.which(name))), None)


@dataclass
class Visitor:
    """Somebody with a browser; hears every violation of the content security policy and every script error."""

    context: BrowserContext
    page: Page
    site: BrowserServer
    heard: list[str] = field(default_factory=list)

    @classmethod
    def enter(cls, browser: Browser, site: BrowserServer, **options: Any) -> Visitor:
        context = browser.new_context(
            timezone_id="Europe/Vienna", locale="en-GB", reduced_motion="reduce", base_url=site.url, **options
        )
        context.set_default_timeout(PATIENCE_MS)
        # Reported by the page itself, before anything else of it runs.
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error("
            "`CSP ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`))"
        )
        visitor = cls(context, context.new_page(), site)
        visitor.page.on("pageerror", lambda error: visitor.heard.append(f"error: {error}"))
        visitor.page.on("dialog", visitor._dialog)
        visitor.page.on(
            "console", lambda said: visitor.heard.append(said.text) if said.text.startswith("CSP ") else None
        )
        return visitor

    def _dialog(self, dialog: Any) -> None:
        self.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def sign_in(self, email: str | None = None) -> Page:
        """Come back as someone who signed in before, the administrator if nobody is named.

        The form itself has a test of its own.
        """
        kept = {
            "dragoman_session": self.site.ticket(email or self.site.admin),
            "zone": "Europe/Vienna",
        }
        self.context.add_cookies([{"name": n, "value": v, "url": self.site.url} for n, v in kept.items()])
        self.page.goto(LOGS)
        return self.page

    def open(self, session_id: UUID, query: str = "") -> Page:
        self.page.goto(f"{LOGS}/{session_id}{query}")
        return self.page

    def leave(self) -> None:
        self.context.close()
        assert self.heard == []


DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture(scope="package")
def site(postgres_server: object) -> Iterator[BrowserServer]:
    """The pages, with conversations on them, for tests that do not change what others look at."""
    name = f"stage_{os.getpid()}_{uuid4().hex[:8]}"
    urls = embedded.urls(postgres_server, name)  # type: ignore[arg-type]
    asyncio.run(servers.make_database(urls, name))
    with servers.open_stage(urls) as opened:
        yield opened


@pytest.fixture
def own(site: BrowserServer) -> BrowserServer:
    """The same pages for a tenant of the test's own, which is empty and may be written to."""
    return site.own_tenant()


@pytest.fixture(autouse=True)
def _what_others_look_at_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    site: BrowserServer = request.getfixturevalue("site")
    before = site.do(site.contents())
    yield
    after = site.do(site.contents())
    assert after == before, "the test wrote to what others look at; let it take the fixture 'own'"


@pytest.fixture(scope="package")
def browser(site: BrowserServer) -> Iterator[Browser]:
    """One Chromium; closed before other tests go on, since Playwright's loop would stand in theirs' way."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture
def visitor(browser: Browser, site: BrowserServer) -> Iterator[Visitor]:
    """At a desk, not signed in."""
    entered = Visitor.enter(browser, site, viewport=DESK)
    yield entered
    entered.leave()


@pytest.fixture
def desk(visitor: Visitor) -> Visitor:
    """At a desk, signed in as administrator."""
    visitor.sign_in()
    return visitor


@pytest.fixture
def own_desk(browser: Browser, own: BrowserServer) -> Iterator[Visitor]:
    """At a desk, signed in as administrator of a tenant of the test's own."""
    entered = Visitor.enter(browser, own, viewport=DESK)
    entered.sign_in()
    yield entered
    entered.leave()


@pytest.fixture
def own_phone(browser: Browser, own: BrowserServer) -> Iterator[Visitor]:
    """On a phone, signed in as administrator of a tenant of the test's own."""
    entered = Visitor.enter(browser, own, viewport=PHONE, has_touch=True)
    entered.sign_in()
    yield entered
    entered.leave()


@pytest.fixture
def phone(browser: Browser, site: BrowserServer) -> Iterator[Visitor]:
    """On a phone, signed in as administrator."""
    entered = Visitor.enter(browser, site, viewport=PHONE, has_touch=True)
    entered.sign_in()
    yield entered
    entered.leave()


@pytest.fixture(scope="package")
def axe() -> str:
    """axe-core's source, in the version that ``frontend/package-lock.json`` names."""
    return axe_source(Path(__file__).resolve().parents[2])
