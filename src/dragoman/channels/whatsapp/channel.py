"""WhatsApp stands behind the channel interface: Meta's items take the form that every channel hands over."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from dragoman.channels.interface import (
    AccountAccess,
    ChannelLimits,
    ChannelMessage,
    IdentityChange,
    Item,
    LimitError,
    MalformedDeliveryError,
    Meaning,
    Other,
    Preference,
    Status,
)
from dragoman.channels.whatsapp import account_events, contents, inbound, outbound, redact, templates
from dragoman.channels.whatsapp.account_client import WhatsAppClient
from dragoman.channels.whatsapp.claims import claimed_accounts
from dragoman.channels.whatsapp.errors import meaning_of
from dragoman.channels.whatsapp.items import InboundItem, OtherItem, StatusItem, WhatsAppIdentity
from dragoman.channels.whatsapp.items import Item as WhatsAppItem
from dragoman.channels.whatsapp.locales import locale_of
from dragoman.channels.whatsapp.signature import is_well_formed, verify
from dragoman.channels.whatsapp.wire import MalformedError, Object, each, identifier, moment, table, text
from dragoman.domain.content import ContactCards, Content, SystemNotice
from dragoman.domain.nouns import Identity, MessageContext
from dragoman.domain.redaction import RedactionRule

_ANYBODY = Identity(kind="wa_id", value="0")
_STOPS = frozenset({"stop", "opt_out", "unsubscribe"})


class WhatsApp:
    """Implements both sides of :mod:`dragoman.channels.interface`."""

    name = "whatsapp"
    limits = ChannelLimits(text=outbound.TEXT_BODY, caption=outbound.CAPTION, options=outbound.LIST_ROWS)

    def parse(self, body: bytes) -> tuple[Item, ...]:
        """Read every item of a webhook's body."""
        try:
            return tuple(map(_item, inbound.parse(body).items))
        except MalformedError as error:
            raise MalformedDeliveryError(str(error)) from error

    def raw_items(self, body: bytes) -> list[Any]:
        """Give Meta's own objects."""
        return [item.raw for item in inbound.parse(body).items]

    def redact(self, body: bytes, rules: Sequence[RedactionRule]) -> tuple[bytes, Mapping[int, Counter[str]]]:
        """See :mod:`~dragoman.channels.whatsapp.redact`."""
        return redact.redact(body, rules)

    def redact_messages(self, body: bytes, rules: Mapping[str, Sequence[RedactionRule]]) -> bytes:
        """See :mod:`~dragoman.channels.whatsapp.redact`."""
        return redact.redact_messages(body, rules)

    def fault(self, content: Content) -> str | None:
        """Look at Meta's limits as a request is made."""
        try:
            outbound.render(content, recipient=_ANYBODY, reply_to=None, correlation="")
        except LimitError as error:
            return str(error)
        return None

    def is_signature(self, header: str) -> bool:
        """Check the form of the header ``X-Hub-Signature-256``."""
        return is_well_formed(header)

    def claimed_accounts(self, body: bytes) -> Sequence[str]:
        """See :mod:`~dragoman.channels.whatsapp.claims`."""
        return claimed_accounts(body)

    def is_signed(self, body: bytes, signature: str | None, secret: str) -> bool:
        """Check the header ``X-Hub-Signature-256``."""
        return verify(body, signature, secret)

    def meaning_of(self, code: int | None) -> Meaning:
        """Look the code up in Meta's table."""
        return meaning_of(code)

    def client(self, http: httpx.AsyncClient, base_url: str, access: AccountAccess) -> WhatsAppClient:
        """Speak to the Graph API at *base_url* for one phone number."""
        return WhatsAppClient(http, base_url, access)


def _item(item: WhatsAppItem) -> Item:
    match item:
        case InboundItem():
            return _message(item)
        case StatusItem() if (payment := _payment(item)) is not None:
            return payment
        case StatusItem():
            return Status(
                address=item.phone_number_id,
                channel_message_id=item.channel_message_id,
                status=item.status,
                channel_at=item.channel_at,
                errors=tuple({"code": e.code, "reason": e.sentence} for e in item.errors),
                correlation=item.correlation,
                participant=(participant := _participant(item)),
                raw=item.raw,
                owner=item.waba_id,
                recipient=() if participant else _identities(item.recipient),
            )
        case OtherItem():
            return Other(
                address=item.phone_number_id,
                owner=item.waba_id,
                field=item.field,
                reason=item.reason,
                raw=item.raw,
                event=account_events.event_of(item),
                template=templates.change_of(item),
                preference=_preference(item),
                identity_change=_user_id_update(item),
                one_person=_named_together(item),
                group_names=_group_names(item),
            )


def _message(item: InboundItem) -> ChannelMessage:
    sender = item.sender
    if sender.wa_id is None and isinstance(item.content, ContactCards) and item.content.requested:
        sender = WhatsAppIdentity(_shared_number(item.raw), sender.user_id)
    number = sender.wa_id
    notice = item.content if isinstance(item.content, SystemNotice) else None
    return ChannelMessage(
        address=item.phone_number_id,
        channel_message_id=item.channel_message_id,
        sender=_identities(sender),
        display_name=item.profile_name,
        username=item.username,
        from_us=item.from_us,
        group=Identity(kind="wa_group", value=item.context.group_id) if item.context.group_id else None,
        phone=f"+{number}" if number and number.isdecimal() else None,
        locale=locale_of(number),
        channel_at=item.channel_at,
        content=item.content,
        fingerprint=item.fingerprint,
        context=item.context,
        identity_change=_succession(item, notice) if notice else None,
        revokes_confirmation=notice is not None and notice.event == "customer_identity_changed",
        owner=item.waba_id,
    )


def _payment(item: StatusItem) -> ChannelMessage | None:
    """What became of a payment, which Meta tells in the form of a status of the message that asked for it.

    It says nothing of that message's delivery, and is put on record as something that came from who paid. None for
    other statuses, and where nobody is named. https://developers.facebook.com/docs/whatsapp/cloud-api/payments-api
    """
    raw, sender = item.raw, item.recipient
    if text(raw.get("type")) != "payment" or not isinstance(raw.get("payment"), dict) or not sender.known:
        return None
    content = contents.payment_of(raw["payment"], status=item.status, payer=sender.wa_id or sender.user_id)
    # A message of its own, the same for a redelivery, and another for each step that the payment takes.
    parts = [
        item.channel_message_id,
        content.status,
        content.reference,
        content.transaction,
        text(raw.get("timestamp")),
    ]
    fingerprint = hashlib.sha256("\n".join(part or "" for part in parts).encode()).hexdigest()[:32]
    return ChannelMessage(
        address=item.phone_number_id,
        channel_message_id=f"payment.{fingerprint}",
        sender=_identities(sender),
        display_name=None,
        phone=f"+{sender.wa_id}" if sender.wa_id and sender.wa_id.isdecimal() else None,
        locale=locale_of(sender.wa_id),
        channel_at=item.channel_at,
        content=content,
        fingerprint=fingerprint,
        context=MessageContext(reply_to=item.channel_message_id),
        owner=item.waba_id,
    )


def _shared_number(raw: Object) -> str | None:
    """The contact's own number, which they gave when we asked: WhatsApp vouches for it."""
    for card in each(raw.get("contacts")):
        for phone in each(table(card).get("phones")):
            found = identifier(table(phone).get("wa_id")) or identifier(table(phone).get("phone"))
            if found:
                return "".join(c for c in found if c.isdecimal()) or None
    return None


def _identities(sender: WhatsAppIdentity) -> tuple[Identity, ...]:
    return (
        *((Identity(kind="wa_id", value=sender.wa_id),) if sender.wa_id else ()),
        *((Identity(kind="wa_user_id", value=sender.user_id),) if sender.user_id else ()),
    )


def _participant(item: StatusItem) -> str:
    """In a group, who it is about; ``recipient_id`` is the group then."""
    named = identifier(item.raw.get("recipient_participant_id")) or identifier(
        item.raw.get("recipient_participant_user_id")
    )
    return named or ("group" if item.raw.get("recipient_type") == "group" else "")


def _succession(item: InboundItem, notice: SystemNotice) -> IdentityChange | None:
    """Who took whose place, as a notice about a changed number or user id says."""
    system = table(item.raw.get("system"))
    if notice.event == "user_changed_user_id":
        old = identifier(system.get("previous_user_id")) or item.sender.user_id
        return _succeeds("wa_user_id", old, identifier(system.get("user_id")), item.channel_at)
    if notice.event != "user_changed_number" or notice.new_address is None:
        return None
    return _succeeds("wa_id", item.sender.wa_id, notice.new_address.removeprefix("+"), item.channel_at)


def _succeeds(kind: str, old: str | None, new: str | None, at: datetime | None) -> IdentityChange | None:
    if old is None or new is None or old == new:
        return None
    return IdentityChange(old=Identity(kind=kind, value=old), new=Identity(kind=kind, value=new), at=at)


def _user_id_update(item: OtherItem) -> IdentityChange | None:
    old, new = _user_ids_of_update(item)
    return _succeeds("wa_user_id", old, new, moment(item.raw.get("timestamp"))) if old and new else None


def _user_ids_of_update(item: OtherItem) -> tuple[str | None, str | None]:
    """The old and the new user id of the field ``user_id_update``."""
    if item.field != "user_id_update":
        return None, None
    # Meta's page shows the pair inside `user_id`, older editions beside the number.
    for holder in (table(item.raw.get("user_id")), table(item.raw.get("user_id_update")), item.raw):
        old, new = identifier(holder.get("previous")), identifier(holder.get("current"))
        if new:
            return old, new
    return None, None


def _named_together(item: OtherItem) -> tuple[Identity, ...]:
    """What a changed user id says of whose it is: the number beside it is the same person's."""
    old, new = _user_ids_of_update(item)
    number = identifier(item.raw.get("wa_id"))
    if new is None:
        return ()
    # The old id stands for the person: the new one takes its place, and is linked with it.
    return _identities(WhatsAppIdentity(number and number.removeprefix("+"), old or new))


def _group_names(item: OtherItem) -> tuple[tuple[str, str], ...]:
    """What the groups that a change speaks of are called, by id."""
    if not item.field.startswith("group_"):
        return ()
    groups = [table(group) for group in each(item.raw.get("groups"))] or [item.raw]
    named = ((identifier(group.get("group_id")), _subject(group)) for group in groups)
    return tuple((group_id, subject) for group_id, subject in named if group_id and subject)


def _subject(group: Object) -> str | None:
    """The name of a group: as such, or as the setting that was changed."""
    changed = table(group.get("group_subject"))
    return text(group.get("subject")) or (
        text(changed.get("text")) if changed.get("update_successful") is True else None
    )


def _preference(item: OtherItem) -> Preference | None:
    raw: Object = item.raw
    if item.field != "user_preferences" or text(raw.get("category")) not in (None, "marketing_messages"):
        return None
    wa_id, user_id, value = identifier(raw.get("wa_id")), identifier(raw.get("user_id")), text(raw.get("value"))
    sender = _identities(WhatsAppIdentity(wa_id and wa_id.removeprefix("+"), user_id))
    if not sender or value is None:
        return None
    detail = text(raw.get("detail")) or value
    return Preference(sender=sender, opts_out=value.lower() in _STOPS, detail=detail, at=moment(raw.get("timestamp")))
