"""The phone in the browser, through the real webhook, the real dispatcher and the stand-in."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID, uuid4

from playwright.sync_api import Browser, Locator, Page, expect

from tests import second_number
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, LOGS, Visitor


def test_a_conversation_from_the_first_word_to_the_audit_page(own_desk: Visitor) -> None:
    page = own_desk.page
    page.get_by_role("navigation", name="Primary").get_by_role("link", name="Simulator").click()
    page.get_by_label("Number").fill("0043 (680) 555 01 02")
    page.get_by_label("Name").fill("Nora Neu")
    page.get_by_role("button", name="Start").click()
    phone = page.get_by_role("region", name="Phone of Nora Neu")
    expect(phone).to_contain_text("No messages yet")
    page.get_by_label("Message", exact=True).fill("hello")
    page.keyboard.press("Enter")
    expect(phone.locator(".msg.in")).to_contain_text("hello")
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    offered = phone.get_by_role("button", name="Bestellung")
    expect(offered).to_be_visible()
    steps = page.get_by_role("complementary", name="Dispatcher steps")
    expect(steps).to_contain_text("Session opened")
    offered.click()
    expect(phone.locator(".msg.in").nth(1)).to_contain_text("Bestellung")
    expect(phone.locator(".msg.out").nth(1)).to_contain_text("VF-12345")
    expect(phone.locator(".replies .tapped")).to_contain_text("Bestellung")
    page.get_by_label("Message", exact=True).fill("VF-20001")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(phone.locator(".msg.out").nth(2)).to_contain_text("VF-20001")
    phone.get_by_role("link", name="Open in Logs").click()
    expect(page).to_have_url(re.compile(LOGS))
    expect(page.locator("#dr-name")).to_have_text("Nora Neu")
    expect(page.locator(".chat .tap")).to_contain_text("Bestellung")


def attach(page: Page) -> Locator:
    """Open what can be attached."""
    page.get_by_role("button", name="Attach").click()
    return page.get_by_role("dialog", name="Attach")


def test_every_example_arrives_with_its_file(own_desk: Visitor) -> None:
    page = own_desk.page
    page.goto("/simulator?phone=%2B436805550103&name=Emil")
    phone = page.get_by_role("region", name="Phone of Emil")
    page.get_by_label("Message", exact=True).fill("hello")
    page.keyboard.press("Enter")
    expect(phone.locator(".msg.out")).to_have_count(1)
    shown = {
        "Photo": "img[alt^='Image']",
        "Voice": "audio[aria-label^='Voice message']",
        "Document": "a.thing[download]",
        "Sticker": ".sticker img",
        "Location": ".place",
        "Contact": ".card",
        "Unsupported": ".unsupported",
    }
    for button, selector in shown.items():
        attach(page).get_by_role("button", name=button, exact=True).click()
        expect(phone.locator(f".msg.in {selector}")).to_have_count(1)
    expect(phone.locator(".msg.in img").first).to_have_js_property("naturalWidth", 320)
    attach(page).get_by_role("button", name="Reaction", exact=True).click()
    expect(phone.locator(".react")).to_contain_text("👍")


def test_by_hand_and_by_keyboard(own_phone: Visitor, tmp_path: Path) -> None:
    page = own_phone.page
    page.goto("/simulator?phone=%2B436805550104&name=Frida")
    chat = page.get_by_role("region", name="Phone of Frida")
    page.get_by_label("Message", exact=True).fill("where is my ordr")
    page.keyboard.press("Enter")
    mine = chat.locator(".msg.in").first
    expect(chat.locator(".msg.out")).to_have_count(1)
    expect(mine.locator(".act")).to_be_visible()
    # A file of one's own, which is no picture whatever it is called.
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"<script>alert(1)</script>")
    dialog = attach(page)
    page.keyboard.press("Tab")
    dialog.get_by_text("Your own file").press("Enter")
    dialog.get_by_label("File, up to 4 MB").set_input_files(file)
    dialog.get_by_label("Caption").fill("look")
    dialog.get_by_role("button", name="Send file").press("Enter")
    expect(dialog).to_be_hidden()
    expect(chat.locator(".msg.in").filter(has_text="look").locator("a.thing[download]")).to_be_visible()
    dialog = attach(page)
    dialog.get_by_text("Order", exact=True).click()
    dialog.get_by_label("Quantity").fill("3")
    dialog.get_by_role("button", name="Send order").click()
    expect(chat.locator("tfoot")).to_contain_text("59.70 EUR")
    # What is done to a message: edit, react and take it back, reply, delete.
    mine.locator(".act").press("Enter")
    page.get_by_role("dialog", name="Actions").get_by_role("link", name="Edit").press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_have_value("where is my ordr")
    page.get_by_label("Message", exact=True).fill("where is my order")
    page.keyboard.press("Enter")
    expect(mine.locator(".body")).to_have_text("where is my order")
    expect(page.locator(".about")).to_have_count(0)
    theirs = chat.locator(".msg.out").first
    theirs.locator(".act").click()
    page.get_by_role("dialog", name="Actions").get_by_role("button", name="React with ❤️").click()
    expect(theirs.locator(".react")).to_contain_text("❤️")
    theirs.locator(".act").click()
    page.get_by_role("dialog", name="Actions").get_by_role("link", name="Reply").click()
    expect(page.locator(".about")).to_contain_text("Reply to")
    page.get_by_label("Message", exact=True).fill("that one")
    page.keyboard.press("Enter")
    expect(chat.locator(".msg.in").filter(has_text="that one").locator("blockquote")).to_be_visible()
    mine.locator(".act").click()
    page.get_by_role("dialog", name="Actions").get_by_role("button", name="Delete for everyone").click()
    expect(mine).to_contain_text("Deleted by the contact")


def test_a_number_that_is_none_is_refused_in_words(desk: Visitor) -> None:
    desk.page.goto("/simulator?phone=hello")
    expect(desk.page.get_by_role("alert")).to_contain_text("not a phone number")


def test_someone_who_wrote_before_is_picked_and_seen(desk: Visitor) -> None:
    page = desk.page
    page.goto("/simulator")
    page.get_by_role("link", name="Marina Duarte").click()
    phone = page.get_by_role("region", name="Phone of Marina Duarte")
    expect(phone).to_contain_text("quero um link de pagamento")
    expect(phone.locator(".msg.in img")).to_have_count(1)
    # The newest message is in view.
    expect(phone.locator(".msgs > li").last).to_be_in_viewport()


def accounts_of(site: BrowserServer, phone: str) -> list[UUID]:
    """Where the sessions of *phone* came in, the oldest first."""
    rows = site.do(
        site.harness.rows(
            "SELECT channel_account_id FROM session WHERE contact_phone = $1 ORDER BY started_at, session_id", phone
        )
    )
    return [row["channel_account_id"] for row in rows]


def test_the_number_that_is_written_to_is_chosen_and_kept(own_desk: Visitor) -> None:
    page, site = own_desk.page, own_desk.site
    page.goto("/simulator")
    expect(page.get_by_label("Number", exact=True)).to_be_visible()
    expect(page.get_by_label("Write to")).to_have_count(0)
    second = site.do(second_number.add_with_standin(site.harness))
    page.reload()
    page.get_by_label("Number", exact=True).fill("+43 680 5550105")
    page.get_by_label("Name", exact=True).fill("Gerda")
    page.get_by_label("Write to").select_option(str(second))
    page.get_by_role("button", name="Start").click()
    phone = page.get_by_role("region", name="Phone of Gerda")
    expect(phone).to_contain_text(f"writes to {second_number.DISPLAY}")
    page.get_by_label("Message", exact=True).fill("hello")
    page.keyboard.press("Enter")
    expect(phone.locator(".msg.out")).to_have_count(1)
    # What is tapped goes to the same number.
    phone.get_by_role("button", name="Bestellung").click()
    expect(phone.locator(".msg.out").nth(1)).to_contain_text("VF-12345")
    assert accounts_of(site, "+436805550105") == [second]
    page.reload()
    expect(page.get_by_label("Write to")).to_have_value(str(second))
    expect(phone.locator(".msg.out")).to_have_count(2)
    page.get_by_role("link", name="Gerda").click()
    expect(page).to_have_url(re.compile(f"to={second}"))
    # With the other number the same contact has another conversation.
    first = site.harness.channel_account_id
    page.get_by_label("Write to").select_option(str(first))
    page.get_by_role("button", name="Start").click()
    expect(phone).to_contain_text("No messages yet")
    page.get_by_label("Message", exact=True).fill("good morning")
    page.keyboard.press("Enter")
    expect(phone.locator(".msg.out")).to_have_count(1)
    expect(phone.locator(".msg.in")).to_have_text(re.compile("good morning"))
    assert accounts_of(site, "+436805550105") == [second, first]
    # An address without a number leads to the one that was written to last.
    page.goto("/simulator?phone=%2B436805550105")
    expect(page.get_by_label("Write to")).to_have_value(str(first))


def test_the_number_is_chosen_without_scripts_too(browser: Browser, own: BrowserServer) -> None:
    second = own.do(second_number.add_with_standin(own.harness))
    visitor = Visitor.enter(browser, own, viewport=DESK, java_script_enabled=False)
    page = visitor.sign_in()
    page.goto("/simulator?phone=%2B436805550106&name=Hugo")
    page.get_by_label("Write to").select_option(str(second))
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Message", exact=True).fill("hello")
    page.keyboard.press("Enter")
    phone = page.get_by_role("region", name="Phone of Hugo")
    expect(phone.locator(".msg.in")).to_contain_text("hello")
    expect(phone).to_contain_text(f"writes to {second_number.DISPLAY}")
    expect(page.get_by_label("Write to")).to_have_value(str(second))
    visitor.leave()


def test_a_number_that_is_not_the_tenants_is_refused_in_words(own_desk: Visitor) -> None:
    page, site = own_desk.page, own_desk.site
    site.do(second_number.add_with_standin(site.harness))
    page.goto(f"/simulator?phone=%2B436805550107&name=Ida&to={uuid4()}")
    expect(page.get_by_role("alert")).to_contain_text("This WhatsApp number does not exist")
    expect(page.get_by_role("region", name="Phone of Ida")).to_have_count(0)
    # One click goes on with a number that there is.
    page.get_by_role("button", name="Start").click()
    phone = page.get_by_role("region", name="Phone of Ida")
    expect(phone).to_be_visible()
    # A form that names another number sends nothing anywhere.
    page.locator(".compose [name=to]").evaluate("(field, other) => { field.value = other; }", str(uuid4()))
    page.get_by_label("Message", exact=True).fill("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    page.reload()
    expect(phone).to_contain_text("No messages yet")
    assert accounts_of(site, "+436805550107") == []
