"""Takes the pictures of ``docs/shots``: ``python -m tests.browser.shots``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from dragoman.store import embedded
from tests import conftest as database
from tests.browser import browser_server as servers
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import CHROMIUM_ARGUMENTS, Visitor, chromium
from tests.browser.people import GALLERY, MARINA

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "shots"
SIZES = ((1440, 900, 1), (390, 844, 2))


def main() -> None:
    """Play the conversations, then photograph the pages in both themes and sizes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dragoman-shots-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        server, _ = embedded.start(home)
        asyncio.run(database._make_template(embedded.urls(server, database.TEMPLATE)))
        urls = embedded.urls(server, "shots")
        asyncio.run(servers.make_database(urls, "shots"))
        with servers.open_stage(urls) as site, sync_playwright() as playwright:
            launched = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_ARGUMENTS))
            for (width, height, scale), theme in product(SIZES, ("light", "dark")):
                _photograph(launched, site, width, height, scale, theme)
                _unroll(launched, site, width, height, theme)
            launched.close()
        server.cleanup()


def _photograph(launched: Browser, site: BrowserServer, width: int, height: int, scale: int, theme: str) -> None:
    visitor = Visitor.enter(
        launched,
        site,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=theme,
    )
    page = visitor.sign_in()

    def take(name: str) -> None:
        page.evaluate("document.fonts.ready")
        page.wait_for_timeout(300)
        page.screenshot(path=FOLDER / f"{name}-{width}x{height}-{theme}.png")
        sys.stdout.write(f"{name}-{width}x{height}-{theme}.png\n")

    take("logs")
    visitor.open(site.session_of(MARINA))
    take("drawer")
    _to_the_failure(page)
    take("timeline")
    page.goto("/simulator?phone=%2B5511987652485&name=Marina+Duarte")
    take("simulator")
    visitor.leave()


def _unroll(launched: Browser, site: BrowserServer, width: int, height: int, theme: str) -> None:
    """One transcript with every kind of content, whole."""
    visitor = Visitor.enter(launched, site, viewport={"width": width, "height": height}, color_scheme=theme)
    visitor.sign_in()
    page = visitor.open(site.session_of(GALLERY))
    pane = page.locator(".pane.chat")
    whole = pane.evaluate("(element) => element.scrollHeight")
    above = pane.bounding_box()
    assert above is not None
    page.set_viewport_size({"width": width, "height": int(whole + above["y"] + 8)})
    expect(page.locator("img").last).to_have_js_property("complete", True)
    page.wait_for_timeout(500)
    name = f"transcript-{width}x{height}-{theme}.png"
    page.screenshot(path=FOLDER / name, clip=pane.bounding_box())
    sys.stdout.write(f"{name}\n")
    visitor.leave()


def _to_the_failure(page: Page) -> None:
    if page.locator(".dr-seg").is_visible():
        page.locator("[data-pane-set=timeline]").click()
    failed = page.locator(".timeline .ev").filter(has_text="Skill called").last
    failed.evaluate("(element) => element.scrollIntoView({ block: 'start' })")


if __name__ == "__main__":
    main()
