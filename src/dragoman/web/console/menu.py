"""The menu: every page that exists, where it stands, and the permission that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from dragoman.translations import deferred
from dragoman.web.auth import Principal


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One page; ``section`` is the menu's heading, ``group`` the fold below it, empty for none."""

    section: str
    group: str
    label: str
    icon: str
    address: str
    permission: str


COMMUNICATIONS, TOOLS = deferred("Communications"), deferred("Tools")
AUTOMATION, INSIGHTS, SETTINGS = deferred("Automation"), deferred("Insights"), deferred("Settings")

PAGES = (
    MenuEntry(
        COMMUNICATIONS,
        "",
        deferred("Handoff Inbox"),
        "headset",
        "/communications/handoff-inbox",
        "communications.handoff_inbox:read",
    ),
    MenuEntry(
        COMMUNICATIONS,
        "",
        deferred("Active Sessions"),
        "gauge",
        "/communications/sessions/active",
        "communications.access:admin",
    ),
    MenuEntry(
        COMMUNICATIONS, "", deferred("Skills"), "list-checks", "/communications/skills", "communications.access:read"
    ),
    MenuEntry(
        COMMUNICATIONS,
        AUTOMATION,
        deferred("Logs"),
        "messages-square",
        "/communications/automation/logs",
        "communications.access:read",
    ),
    MenuEntry(
        COMMUNICATIONS,
        AUTOMATION,
        deferred("Exports"),
        "download",
        "/communications/automation/exports",
        "audit.export",
    ),
    MenuEntry(
        COMMUNICATIONS,
        INSIGHTS,
        deferred("Skill Usage"),
        "chart-column",
        "/communications/insights/skills",
        "communications.access:read",
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Channels"),
        "smartphone",
        "/communications/settings/channels",
        "settings.admin",
    ),
    MenuEntry(
        COMMUNICATIONS, SETTINGS, deferred("Handoff"), "clock", "/communications/settings/handoff", "settings.admin"
    ),
    MenuEntry(
        COMMUNICATIONS, SETTINGS, deferred("Users"), "user-round", "/communications/settings/users", "settings.admin"
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Roles"),
        "user-round-check",
        "/communications/settings/roles",
        "settings.admin",
    ),
    MenuEntry(
        COMMUNICATIONS, SETTINGS, deferred("API Tokens"), "lock", "/communications/settings/tokens", "settings.admin"
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Redaction"),
        "shield-check",
        "/communications/settings/redaction",
        "settings.admin",
    ),
    MenuEntry(
        COMMUNICATIONS, SETTINGS, deferred("Sign-on"), "lock", "/communications/settings/sign-on", "settings.admin"
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Failed Jobs"),
        "circle-alert",
        "/communications/settings/failed-jobs",
        "settings.admin",
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Deliveries"),
        "inbox",
        "/communications/settings/deliveries",
        "communications.access:admin",
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Canned Replies"),
        "message-square-text",
        "/communications/settings/canned-replies",
        "communications.handoff_inbox:write",
    ),
    MenuEntry(
        COMMUNICATIONS, SETTINGS, deferred("Triggers"), "zap", "/communications/settings/triggers", "settings.admin"
    ),
    MenuEntry(
        COMMUNICATIONS,
        SETTINGS,
        deferred("Email Templates"),
        "mail",
        "/communications/settings/email-templates",
        "settings.admin",
    ),
    MenuEntry(TOOLS, "", deferred("Access Log"), "scroll-text", "/access-log", "audit.read"),
    MenuEntry(TOOLS, "", deferred("Simulator"), "smartphone", "/simulator", "communications.access:write"),
)

GROUP_ICONS = {AUTOMATION: "workflow", INSIGHTS: "chart-column", SETTINGS: "wrench"}


@dataclass(frozen=True, slots=True)
class MenuSection:
    """A heading with its folds; a fold is its name, its icon and its pages."""

    label: str
    groups: tuple[tuple[str, str, tuple[MenuEntry, ...]], ...]


def menu(identity: Principal | None) -> tuple[MenuSection, ...]:
    """What *identity* may see of :data:`PAGES`."""
    if identity is None:
        return ()
    seen = [entry for entry in PAGES if identity.may(entry.permission)]
    return tuple(
        MenuSection(label, tuple(_groups(entries))) for label, entries in groupby(seen, lambda entry: entry.section)
    )


def _groups(entries: Iterator[MenuEntry]) -> Iterator[tuple[str, str, tuple[MenuEntry, ...]]]:
    for name, grouped in groupby(entries, lambda entry: entry.group):
        yield name, GROUP_ICONS.get(name, ""), tuple(grouped)


def current_address(path: str) -> str:
    """The address of the page in the menu that *path* belongs to: the longest that it begins with; empty for none."""
    return max((entry.address for entry in PAGES if f"{path}/".startswith(f"{entry.address}/")), key=len, default="")
