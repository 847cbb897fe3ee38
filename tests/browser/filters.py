"""Chooses in the filters of the Conversation Logs as people do."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def tick(page: Page, name: str, *labels: str) -> None:
    """Open the filter called *name*, tick or untick what is called so, and close it again."""
    page.get_by_role("button", name=name).click()
    chooser = page.get_by_role("dialog", name=name)
    for label in labels:
        # The number beside an outcome is read with its name, and comes later.
        chooser.locator("label").filter(has_text=label).first.click()
    page.keyboard.press("Escape")
    expect(chooser).to_be_hidden()
