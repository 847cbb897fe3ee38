"""What somebody may be permitted to do: each permission stands here once, with its name for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dragoman.translations import deferred


@dataclass(frozen=True, slots=True)
class PermissionWords:
    """Says what a permission is called on pages and in error texts, and what somebody who has it may do."""

    label: str
    description: str


PERMISSION_WORDS: Mapping[str, PermissionWords] = MappingProxyType(
    {
        "communications.access:read": PermissionWords(
            deferred("Read conversations"), deferred("Open logs, transcripts, timelines, skills and insights.")
        ),
        "communications.access:write": PermissionWords(
            deferred("Simulate and resend"),
            deferred("Use the simulator, resend or cancel messages, and review conversations."),
        ),
        "communications.access:admin": PermissionWords(
            deferred("Supervise conversations"),
            deferred(
                "See active sessions and channel deliveries, end sessions, set legal holds, train the classifier."
            ),
        ),
        "communications.reviews:write": PermissionWords(
            deferred("Review conversations"), deferred("Mark conversations as reviewed, tag them, and add notes.")
        ),
        "communications.handoff_inbox:read": PermissionWords(
            deferred("See the handoff inbox"), deferred("Watch conversations that wait for an agent or are with one.")
        ),
        "communications.handoff_inbox:write": PermissionWords(
            deferred("Answer contacts"),
            deferred("Take conversations from the handoff inbox, reply, and manage canned replies."),
        ),
        "audit.unmask": PermissionWords(
            deferred("See phone numbers"),
            deferred("See phone numbers and email addresses in full; without it they are masked."),
        ),
        "audit.export": PermissionWords(
            deferred("Export conversations"), deferred("Download conversations and the outbox as files.")
        ),
        "audit.read": PermissionWords(
            deferred("Read the access log"),
            deferred("See who read which conversation, and what administrators changed."),
        ),
        "settings.admin": PermissionWords(
            deferred("Manage settings"),
            deferred("Change channels, users, roles, API tokens, triggers, templates and all other settings."),
        ),
    }
)


ROLE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "administrator": deferred("Administrator"),
        "auditor": deferred("Auditor"),
        "agent": deferred("Agent"),
        "analyst": deferred("Analyst"),
        "developer": deferred("Developer"),
    }
)
"""What the built-in roles are called on pages."""


def role_name(role: str) -> str:
    """Name a role for people: a built-in one in words, a tenant's own as it is, with a capital."""
    return ROLE_NAMES.get(role) or role.capitalize()


def permission_label(permission: str) -> str:
    """Name *permission* for people; one that is not known by itself."""
    words = PERMISSION_WORDS.get(permission)
    return words.label if words is not None else permission


def access_refusal(permission: str) -> str:
    """Say that *permission* is missing, and whom to ask for it."""
    label = permission_label(permission)
    return deferred("You don’t have access. Ask an administrator for “%(permission)s”.", permission=label)
