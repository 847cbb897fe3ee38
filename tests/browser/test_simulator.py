"""The phone in the browser, through the real webhook, the real dispatcher and the stand-in."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import LOGS, Visitor


def test_a_conversation_from_the_first_word_to_the_audit_page(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("navigation", name="Primary").get_by_role("link", name="Simulator").click()
    page.get_by_label("Number").fill("0043 (680) 555 01 02")
    page.get_by_label("Name").fill("Nora Neu")
    page.get_by_role("button", name="Use this phone").click()
    phone = page.get_by_role("region", name="Phone of Nora Neu")
    expect(phone).to_contain_text("Nothing has been written from this phone")
    page.get_by_label("Message").fill("hello")
    page.keyboard.press("Enter")
    expect(phone.locator(".msg.in")).to_contain_text("hello")
    expect(page.get_by_label("Message")).to_have_value("")
    offered = phone.get_by_role("button", name="Bestellung")
    expect(offered).to_be_visible()
    steps = page.get_by_role("complementary", name="What the dispatcher does")
    expect(steps).to_contain_text("Session opened")
    offered.click()
    expect(phone.locator(".msg.in").nth(1)).to_contain_text("Bestellung")
    expect(phone.locator(".msg.out").nth(1)).to_contain_text("VF-12345")
    expect(phone.locator(".replies .tapped")).to_contain_text("Bestellung")
    page.get_by_label("Message").fill("VF-20001")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(phone.locator(".msg.out").nth(2)).to_contain_text("VF-20001")
    phone.get_by_role("link", name="What the dispatcher made of it").click()
    expect(page).to_have_url(re.compile(LOGS))
    expect(page.locator("#dr-name")).to_have_text("Nora Neu")
    expect(page.locator(".chat .tap")).to_contain_text("Bestellung")


def test_every_example_arrives(desk: Visitor) -> None:
    page = desk.page
    page.goto("/simulator?phone=%2B436805550103&name=Emil")
    phone = page.get_by_role("region", name="Phone of Emil")
    page.get_by_label("Message").fill("hello")
    page.keyboard.press("Enter")
    expect(phone.locator(".msg.out")).to_have_count(1)
    shown = {
        "Photo": "It arrived like this",
        "Voice": "Voice message",
        "Location": "Stephansplatz",
        "Sticker": "Sticker",
        "Contact": "Eva Lang",
        "Unsupported": "Unsupported message",
    }
    for button, text in shown.items():
        phone.get_by_role("button", name=button, exact=True).click()
        expect(phone.locator(".msg.in").filter(has_text=text)).to_have_count(1)
    before = phone.locator(".msg.out").count()
    assert before >= 1
    phone.get_by_role("button", name="Reaction", exact=True).click()
    expect(phone.locator(".react")).to_contain_text("👍")


def test_a_number_that_is_none_is_refused_in_words(desk: Visitor) -> None:
    desk.page.goto("/simulator?phone=hello")
    expect(desk.page.get_by_role("alert")).to_contain_text("no phone number")


def test_someone_who_wrote_before_is_picked_and_seen(desk: Visitor) -> None:
    page = desk.page
    page.goto("/simulator")
    page.get_by_role("link", name="Marina Duarte").click()
    phone = page.get_by_role("region", name="Phone of Marina Duarte")
    expect(phone).to_contain_text("quero um link de pagamento")
    expect(phone.locator(".msg.in .thing")).to_contain_text("Image")
    # The newest message is in view.
    expect(phone.locator(".msgs > li").last).to_be_in_viewport()
