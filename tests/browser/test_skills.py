"""The registry as people use it: who retired a skill and why, how one is tried, how its key is changed."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from dragoman.services.catalogue import manage_skills
from dragoman.skills.manifest import read_manifest
from dragoman.store.accounts.actions import COMMAND_LINE
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import Visitor

SKILLS = "/communications/skills"
MANIFEST = {
    "name": "billing.copy", "label": "Invoice copy", "version": "1", "url": "https://127.0.0.1/copy",
    "allow_private": True, "phrases": {"en": ["send me my invoice again"]}, "keywords": ["invoice copy"],
    "parameters": {
        "type": "object", "required": ["number", "pin"],
        "properties": {
            "number": {"type": "string", "pattern": "VF-[0-9]{5}"}, "pin": {"type": "string", "x-secret": True},
            "way": {"enum": ["pdf", "paper"]}, "really": {"type": "boolean"},
            "on": {"type": "string", "format": "date"},
        },
    },
    "answer": {"type": "object", "properties": {"sent": {"type": "boolean"}}},
}  # fmt: skip


def register_remote(site: BrowserServer) -> None:
    """A skill behind HTTP, at an address that nothing is called at."""
    spec = read_manifest(json.dumps(MANIFEST), "m.json")
    harness = site.harness
    site.do(manage_skills.register_manifest(harness.runtime, harness.tenant_id, spec, COMMAND_LINE))


def test_an_auditor_finds_from_the_event_who_retired_the_skill_and_when_and_why(own_desk: Visitor) -> None:
    page = own_desk.page
    page.goto(SKILLS)
    page.get_by_role("link", name="Order status").click()
    expect(page.get_by_role("heading", name="Order status", level=1)).to_be_visible()
    # By keyboard alone.
    page.get_by_role("button", name="Retire").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Retire Order status")
    expect(dialog).to_contain_text("Contacts who ask for it will be told that it is no longer available")
    expect(dialog).to_contain_text("the tenant’s short menu")
    reason = dialog.get_by_label("Reason")
    expect(reason).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.type("The carrier is gone")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Skill retired.")).to_be_visible()
    session_id = own_desk.site.converse("where is my order", phone="436991230001", name="Rita Retired")
    page = own_desk.sign_in(own_desk.site.auditor)
    own_desk.open(session_id)
    page.locator(".timeline").get_by_role("link", name="Skill retired: orders.status").click()
    expect(page).to_have_url(re.compile("/communications/skills/orders.status#history$"))
    history = page.get_by_role("region", name="History")
    expect(history.get_by_role("listitem").first).to_contain_text("Retired")
    expect(history.get_by_role("listitem").first).to_contain_text("by Ana Lima")
    expect(history.get_by_role("listitem").first).to_contain_text("The carrier is gone")
    expect(page.get_by_role("button", name="Restore")).to_have_count(0)
    page.goto(f"{SKILLS}?status=retired")
    expect(page.get_by_role("row").filter(has_text="Order status")).to_contain_text("by Ana Lima")


def test_a_skill_comes_back(own_desk: Visitor) -> None:
    page = own_desk.page
    page.goto(f"{SKILLS}/stores.hours")
    for verb, shown in (("Retire", "Retired"), ("Restore", "In use")):
        page.get_by_role("button", name=verb).click()
        dialog = page.get_by_role("dialog", name=f"{verb} Opening hours")
        dialog.get_by_label("Reason").fill("a trial")
        dialog.get_by_role("button", name=verb).click()
        expect(page.locator(".skill-head .state")).to_have_text(shown)
    expect(page.get_by_role("region", name="History").get_by_role("listitem")).to_contain_text(
        ["Restored", "Retired", "registered"]
    )


def test_the_list_is_narrowed_by_its_address(own_desk: Visitor) -> None:
    page = own_desk.page
    register_remote(own_desk.site)
    page.goto(SKILLS)
    page.get_by_label("Kind").select_option("http")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("kind=http"))
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("Invoice copy")
    page.get_by_role("link", name="Retired").click()
    expect(page.get_by_text("No skills found")).to_be_visible()
    page.get_by_role("link", name="Show all skills").click()
    expect(page.get_by_role("link", name="Order status")).to_be_visible()


def test_a_python_skill_is_tried(own_desk: Visitor) -> None:
    page = own_desk.page
    page.goto(f"{SKILLS}/orders.status")
    page.get_by_label("order_number").fill("no number")
    page.get_by_role("button", name="Run test call").click()
    expect(page.get_by_role("alert")).to_contain_text("Not run")
    expect(page.get_by_label("order_number")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("order_number").fill("it is VF-12345")
    page.get_by_label("Contact’s language").select_option("de")
    page.get_by_role("button", name="Run test call").click()
    told = page.locator(".trial-result")
    expect(told).to_contain_text("The skill responded.")
    expect(told).to_contain_text("VF-12345")
    page.goto("/access-log?kind=change")
    expect(page.get_by_role("row").filter(has_text="Ran a test call of a skill").first).to_contain_text("VF-12345")


def test_a_skill_behind_http_is_tried_and_its_key_is_changed(own_desk: Visitor) -> None:
    page = own_desk.page
    register_remote(own_desk.site)
    page.goto(f"{SKILLS}/billing.copy")
    page.get_by_label("number").fill("VF-12345")
    page.get_by_label("pin").fill("geheim")
    page.get_by_label("way").select_option("paper")
    page.get_by_role("button", name="Run test call").click()
    told = page.locator(".trial-result")
    expect(told).to_contain_text("AddressRefusedError")
    expect(told).not_to_contain_text("geheim")
    keys = page.get_by_role("region", name="Signing keys")
    keys.get_by_role("button", name="Add key").click()
    once = page.get_by_role("status").filter(has_text="Key sk_")
    expect(once).to_contain_text("dsk_")
    expect(keys.get_by_role("button", name="Remove")).to_have_count(2)
    keys.get_by_role("button", name="Remove").first.click()
    expect(page.get_by_role("status").filter(has_text="no longer signed with it")).to_be_visible()
    expect(keys.get_by_role("button", name="Remove")).to_have_count(1)
    expect(page.get_by_text("dsk_")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert read_manifest(download.value.path().read_text(), "m").name == "billing.copy"


def test_nothing_goes_beyond_the_edge_on_a_phone(own_phone: Visitor) -> None:
    page = own_phone.page
    register_remote(own_phone.site)
    for address in (SKILLS, f"{SKILLS}/orders.status", f"{SKILLS}/billing.copy"):
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert page.evaluate(
            "[document.documentElement, ...document.querySelectorAll('.settings, .scroll')]"
            ".every((one) => one.scrollWidth <= one.clientWidth + 1)"
        ), address
