"""Takes the pictures of ``docs/shots``: ``python -m tests.browser.shots``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from dragoman.store import embedded
from tests import conftest as database
from tests.browser import browser_server as servers
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import CHROMIUM_ARGUMENTS, Visitor, chromium
from tests.browser.people import GALLERY, MARINA

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "shots"


@dataclass(frozen=True, slots=True)
class Shot:
    """How a page is photographed: the window in CSS pixels, device pixels for each of them, and the language."""

    name: str
    width: int
    height: int
    scale: int = 1
    language: str = "en"
    whole: bool = False


SHOTS = (
    Shot("1440x900", 1440, 900, whole=True),
    Shot("390x844", 390, 844, scale=2, whole=True),
    Shot("1280x800", 1280, 800),
    # A window of 1440x900 at 200 % has half as many pixels of CSS.
    Shot("1440x900-zoom200", 720, 450, scale=2),
    Shot("1440x900-de", 1440, 900, language="de"),
)
"""Those that are ``whole`` have the simulator and a long transcript, too."""


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
            for shot, theme in product(SHOTS, ("light", "dark")):
                _photograph(launched, site, shot, theme)
                if shot.whole:
                    _unroll(launched, site, shot, theme)
            launched.close()
        server.cleanup()


def _photograph(launched: Browser, site: BrowserServer, shot: Shot, theme: str) -> None:
    visitor = Visitor.enter(
        launched,
        site,
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.scale,
        color_scheme=theme,
    )
    visitor.context.add_cookies([{"name": "language", "value": shot.language, "url": site.url}])
    page = visitor.sign_in()

    def take(name: str) -> None:
        page.evaluate("document.fonts.ready")
        page.wait_for_timeout(300)
        page.screenshot(path=FOLDER / f"{name}-{shot.name}-{theme}.png")
        sys.stdout.write(f"{name}-{shot.name}-{theme}.png\n")

    take("logs")
    visitor.open(site.session_of(MARINA))
    take("drawer")
    _to_the_failure(page)
    take("timeline")
    if shot.whole:
        page.goto("/simulator?phone=%2B5511987652485&name=Marina+Duarte")
        take("simulator")
    visitor.leave()


def _unroll(launched: Browser, site: BrowserServer, shot: Shot, theme: str) -> None:
    """One transcript with every kind of content, whole."""
    viewport: ViewportSize = {"width": shot.width, "height": shot.height}
    visitor = Visitor.enter(launched, site, viewport=viewport, color_scheme=theme)
    visitor.sign_in()
    page = visitor.open(site.session_of(GALLERY))
    pane = page.locator(".pane.chat")
    whole = pane.evaluate("(element) => element.scrollHeight")
    above = pane.bounding_box()
    assert above is not None
    page.set_viewport_size({"width": shot.width, "height": int(whole + above["y"] + 8)})
    expect(page.locator("img").last).to_have_js_property("complete", True)
    page.wait_for_timeout(500)
    name = f"transcript-{shot.name}-{theme}.png"
    page.screenshot(path=FOLDER / name, clip=pane.bounding_box())
    sys.stdout.write(f"{name}\n")
    visitor.leave()


def _to_the_failure(page: Page) -> None:
    if page.locator(".dr-seg").is_visible():
        page.locator("[data-pane-set=timeline]").click()
    failed = page.locator(".timeline .ev").filter(has=page.locator("code", has_text="orders.return")).last
    failed.evaluate("(element) => element.scrollIntoView({ block: 'start' })")


if __name__ == "__main__":
    main()
