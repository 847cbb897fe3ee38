"""The customer service window: for how long after a contact's message they may be answered freely.

WhatsApp's rule (facts of the channel, section 4): 24 hours from the contact's last message, 72 where that message came
from an advertisement or a post; after that only a template may be sent. Other channels have no such window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from dragoman.domain.content import Content, Edit, Payment, Reaction, Revoke, SystemNotice
from dragoman.domain.nouns import Sender, TranscriptItem

SERVICE = timedelta(hours=24)
ENTRY_POINT = timedelta(hours=72)
DELIVERED_WITHIN = timedelta(days=8)
"""A webhook is repeated for up to seven days (facts of the channel, section 1)."""

ENTRY_POINTS = frozenset({"ad", "post"})

NEEDS_TEMPLATE = (
    "Needs a template: the contact's customer service window has closed, so that free text may not be sent any more."
)
"""Why a reply was not sent, for the record."""


def closes_at(content: Content, at: datetime, referral: Mapping[str, object] | None = None) -> datetime | None:
    """Say when the window that a contact's message opened closes; None where it opened none."""
    if isinstance(content, Reaction | Edit | Revoke | Payment | SystemNotice):
        # Marks and notices are no messages.
        return None
    from_entry_point = referral is not None and referral.get("source_type") in ENTRY_POINTS
    return at + (ENTRY_POINT if from_entry_point else SERVICE)


def written_at(channel_at: datetime | None, received_at: datetime) -> datetime:
    """When a message was written: the channel's time, since the channel decides, where it can be true.

    It cannot where it lies in the future, or further back than the channel delivers again.
    """
    if channel_at is None or not received_at - DELIVERED_WITHIN <= channel_at <= received_at:
        return received_at
    return channel_at


def latest(items: Iterable[TranscriptItem]) -> datetime | None:
    """Say when the last of the windows closes that the contact's messages among *items* opened; None for none."""
    found = [
        closes
        for item in items
        # What is said in a group opens nobody's private window.
        if item.sender is Sender.CONTACT
        and item.context.group_id is None
        and (closes := closes_at(item.content, written_at(item.channel_at, item.at), item.context.referral))
    ]
    return max(found, default=None)
