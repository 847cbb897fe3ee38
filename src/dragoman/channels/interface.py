"""What the core asks of a channel, and the form in which every channel hands over what it received.

A channel is known by its package here and nowhere else: :class:`Inbound` reads what the outside delivered,
:class:`Outbound` renders what we say. All between the two works on these values and on
:mod:`dragoman.domain.content`. A channel that cannot send yet implements the first alone; its replies wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from dragoman.domain.content import Content
from dragoman.domain.nouns import Identity, MessageContext
from dragoman.domain.redaction import RedactionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """The channel says that one identity of a person has taken the place of another, at that time."""

    old: Identity
    new: Identity
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMessage:
    """One message from a person.

    ``address`` is that of the channel account it was sent to. ``sender`` has every identity that the channel gave;
    the first one is answered. ``label`` stands for a person of whom neither name nor number is known. ``fingerprint``
    tells two messages under one id apart and is the same for a redelivery. ``channel_at`` is None where the channel's
    time could not be read. ``revokes_confirmation``: the channel says that somebody else may be writing. ``owner`` is
    whose the account is, should we not know it: with WhatsApp, the business account.
    """

    address: str
    channel_message_id: str
    sender: tuple[Identity, ...]
    label: str
    display_name: str | None
    phone: str | None
    locale: str
    channel_at: datetime | None
    content: Content
    fingerprint: str
    context: MessageContext
    attached_to: str | None = None
    identity_change: IdentityChange | None = None
    revokes_confirmation: bool = False
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What became of a message of ours, in the channel's own word.

    ``participant`` is who in a group it is about, empty otherwise. ``correlation`` is the text that we had asked to
    get back, or None.
    """

    address: str
    channel_message_id: str
    status: str
    channel_at: datetime | None
    errors: tuple[Mapping[str, Any], ...]
    correlation: str | None
    participant: str
    raw: Mapping[str, Any]
    owner: str | None = None


Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent:
    """What the channel says of an account of ours; from ``warning`` on an operator should look at it."""

    event: str
    severity: Severity
    summary: str
    display: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A person's choice about marketing messages."""

    sender: tuple[Identity, ...]
    opts_out: bool
    detail: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Anything else, kept with the reason in plain words; what follows from it, if anything, is in the last fields."""

    address: str | None
    owner: str | None
    field: str
    reason: str
    raw: Mapping[str, Any]
    event: AccountEvent | None = None
    preference: Preference | None = None
    identity_change: IdentityChange | None = None


Item = ChannelMessage | Status | Other


class MalformedDeliveryError(ValueError):
    """The bytes are nothing that this channel delivers."""


class Inbound(Protocol):
    """Reads what a channel delivers. Total: an item that cannot be read is an :class:`Other` or unsupported."""

    @property
    def name(self) -> str:
        """As channel accounts have it."""
        ...

    @property
    def identity_kinds(self) -> tuple[str, ...]:
        """The kinds of identity that its people are known by."""
        ...

    def parse(self, body: bytes) -> tuple[Item, ...]:
        """Every item of a delivery, in order. Raises MalformedDeliveryError."""
        ...

    def raw_items(self, body: bytes) -> list[Any]:
        """What each item of :meth:`parse` stood as in the delivery, ready for JSON."""
        ...

    def redact(self, body: bytes, rules: Sequence[RedactionRule]) -> tuple[bytes, Mapping[int, Counter[str]]]:
        """*body* without what *rules* find in what people wrote, and how often each found something, by item's place.

        The same bytes where they find nothing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimits:
    """How much fits into one message of a channel."""

    text: int
    caption: int
    options: int


class Outbound(Protocol):
    """Renders what we say."""

    @property
    def name(self) -> str:
        """As channel accounts have it."""
        ...

    @property
    def limits(self) -> ChannelLimits:
        """Checked before anything is sent."""
        ...

    def render(
        self, content: Content, *, recipient: Identity, reply_to: str | None, correlation: str
    ) -> Mapping[str, Any]:
        """The request that says *content*. Raises a DragomanError, one sentence, where it does not fit."""
        ...
