"""A conversation is fetched before it is opened, and shown at once, without a jump."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import LOGS, Visitor
from tests.browser.people import MARINA


def asked_ahead(request: Request) -> bool:
    return "x-ahead" in request.headers


def opened(desk: Visitor) -> list[Request]:
    """What was asked for when somebody opened a conversation, and did not come ahead."""
    session = re.compile(rf"{LOGS}/[0-9a-f-]{{36}}(\?|$)")
    asked: list[Request] = []
    desk.page.on(
        "request",
        lambda request: (
            asked.append(request)
            if session.search(request.url) and not asked_ahead(request) and "x-by-itself" not in request.headers
            else None
        ),
    )
    return asked


def test_the_row_under_the_pointer_is_there_before_the_click(desk: Visitor) -> None:
    page = desk.page
    asked = opened(desk)
    link = page.get_by_role("link", name=MARINA.name)
    with page.expect_response(lambda answer: asked_ahead(answer.request)) as ahead:
        link.hover()
    assert ahead.value.ok
    with page.expect_request(lambda request: "x-by-itself" in request.headers and LOGS in request.url) as recorded:
        link.click()
    expect(page.locator("#drawer h2")).to_contain_text(MARINA.name)
    expect(page.locator("#dr-name")).to_be_focused()
    assert asked == []
    # That it was opened is asked for by the drawer itself, so that it is on record.
    assert not asked_ahead(recorded.value)
    assert re.search(r"/logs/[0-9a-f-]{36}$", page.url)


@pytest.mark.parametrize("keys", ["j", "k"])
def test_the_next_conversation_by_the_keys_is_there_before_it_is_asked_for(desk: Visitor, keys: str) -> None:
    page = desk.page
    asked = opened(desk)
    links = page.locator("#rows .row-link")
    names = links.all_inner_texts()
    links.nth(3).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer h2")).to_contain_text(names[3])
    step = 1 if keys == "j" else -1
    with page.expect_response(lambda answer: asked_ahead(answer.request)) as ahead:
        links.nth(3).focus()
        page.keyboard.press(keys)
        expect(page.locator("#drawer h2")).to_contain_text(names[3 + step])
    assert ahead.value.ok
    before = len(asked)
    page.keyboard.press(keys)
    expect(page.locator("#drawer h2")).to_contain_text(names[3 + 2 * step])
    assert len(asked) == before
