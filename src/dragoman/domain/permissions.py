"""What somebody may be permitted to do: each permission stands here once, with its name for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PermissionWords:
    """Says what a permission is called on pages and in error texts, and what somebody who has it may do."""

    label: str
    description: str


PERMISSION_WORDS: Mapping[str, PermissionWords] = MappingProxyType(
    {
        "communications.access:read": PermissionWords(
            "Read conversations", "Open logs, transcripts, timelines, skills and insights."
        ),
        "communications.access:write": PermissionWords(
            "Simulate and resend", "Use the simulator, resend or cancel messages, and review conversations."
        ),
        "communications.access:admin": PermissionWords(
            "Supervise conversations",
            "See active sessions and channel deliveries, end sessions, set legal holds, train the classifier.",
        ),
        "communications.reviews:write": PermissionWords(
            "Review conversations", "Mark conversations as reviewed, tag them, and add notes."
        ),
        "communications.handoff_inbox:read": PermissionWords(
            "See the handoff inbox", "Watch conversations that wait for an agent or are with one."
        ),
        "communications.handoff_inbox:write": PermissionWords(
            "Answer contacts", "Take conversations from the handoff inbox, reply, and manage canned replies."
        ),
        "audit.unmask": PermissionWords(
            "See phone numbers", "See phone numbers and email addresses in full; without it they are masked."
        ),
        "audit.export": PermissionWords("Export conversations", "Download conversations and the outbox as files."),
        "audit.read": PermissionWords(
            "Read the access log", "See who read which conversation, and what administrators changed."
        ),
        "settings.admin": PermissionWords(
            "Manage settings", "Change channels, users, roles, API tokens, triggers, templates and all other settings."
        ),
    }
)


def permission_label(permission: str) -> str:
    """Name *permission* for people; one that is not known by itself."""
    words = PERMISSION_WORDS.get(permission)
    return words.label if words is not None else permission


def access_refusal(permission: str) -> str:
    """Say that *permission* is missing, and whom to ask for it."""
    return f"You don’t have access. Ask an administrator for “{permission_label(permission)}”."
