"""The content security policy stands on every answer, and the listener that guards it in all tests does hear."""

from __future__ import annotations

from tests.browser.conftest import LOGS, Visitor
from tests.browser.people import MARINA


def test_the_policy_is_sent_with_pages_fragments_and_errors(desk: Visitor) -> None:
    session = desk.site.session_of(MARINA)
    for address, headers in (
        (LOGS, {}),
        (LOGS, {"HX-Request": "true", "HX-Target": "section#list"}),
        (f"{LOGS}/{session}", {"HX-Request": "true", "HX-Target": "aside#drawer"}),
        (f"{LOGS}/nothing", {"Accept": "text/html"}),
        ("/login", {}),
    ):
        response = desk.page.request.get(address, headers=headers)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_one_address_serves_page_and_fragments_and_caches_can_tell(desk: Visitor) -> None:
    address = f"{LOGS}/{desk.site.session_of(MARINA)}"
    whole = desk.page.request.get(address)
    part = desk.page.request.get(address, headers={"HX-Request": "true", "HX-Target": "aside#drawer"})
    assert "<html" in whole.text()
    assert "<html" not in part.text()
    assert part.text().lstrip().startswith('<div class="dr"')
    for response in (whole, part):
        assert {name.strip() for name in response.headers["vary"].split(",")} >= {"HX-Request", "HX-Target"}
    listed = desk.page.request.get(
        f"{LOGS}?state=EXPIRED&phone=", headers={"HX-Request": "true", "HX-Target": "section#list"}
    )
    assert listed.headers["hx-push-url"] == f"{LOGS}?state=EXPIRED"


def test_the_listener_hears_a_violation(visitor: Visitor) -> None:
    visitor.page.goto("/login")
    with visitor.page.expect_console_message(lambda said: said.text.startswith("CSP style-src")):
        visitor.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')")
    assert any(text.startswith("CSP style-src") for text in visitor.heard)
    visitor.heard.clear()
