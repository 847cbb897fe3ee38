"""What a delivery of Meta's is made of, once it is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dragoman.channels.whatsapp.wire import Object
from dragoman.domain.content import Content
from dragoman.domain.nouns import MessageContext


@dataclass(frozen=True, slots=True)
class WhatsAppIdentity:
    """Who a WhatsApp user is: by number (digits, no plus), by business-scoped user id, or by both.

    Since 2026 either may be missing:
    https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
    """

    wa_id: str | None = None
    user_id: str | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to know the user by."""
        return self.wa_id is not None or self.user_id is not None


@dataclass(frozen=True, slots=True)
class ChannelError:
    """An error as Meta reports it; ``code`` is what to decide on, the words are for people."""

    code: int | None
    title: str
    details: str

    @property
    def sentence(self) -> str:
        """Choose the text that tells most."""
        return self.details or self.title or "no reason given"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundItem:
    """What a user sent, in one message; with ``from_us`` what the business wrote them in the app of its phone.

    ``sender`` is the user in both cases. ``fingerprint`` is the same in every delivery of a message. ``channel_at`` is
    None where Meta's time stamp could not be read.
    """

    waba_id: str | None
    phone_number_id: str
    channel_message_id: str
    sender: WhatsAppIdentity
    profile_name: str | None
    username: str | None
    from_us: bool
    channel_at: datetime | None
    content: Content
    context: MessageContext
    fingerprint: str
    raw: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusItem:
    """What became of a message of ours.

    ``status`` is Meta's word: sent, delivered, read, played, failed, deleted, warning, or one to come.
    ``correlation`` is the text that we had asked to get back, or None.
    """

    waba_id: str | None
    phone_number_id: str
    channel_message_id: str
    status: str
    channel_at: datetime | None
    recipient: WhatsAppIdentity
    errors: tuple[ChannelError, ...]
    correlation: str | None
    raw: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherItem:
    """Anything else, kept with the reason, in plain words, why it is neither a message nor a status."""

    waba_id: str | None
    phone_number_id: str | None
    field: str
    reason: str
    raw: Object


Item = InboundItem | StatusItem | OtherItem


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one webhook call brought; ``items`` are in the order in which they stand in it."""

    items: tuple[Item, ...]
