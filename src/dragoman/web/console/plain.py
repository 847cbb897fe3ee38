"""Writes a conversation in plain text: what one pastes into a ticket or a letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.domain.content import (
    ContactCard,
    ContactCards,
    Content,
    FormReply,
    Link,
    Location,
    Media,
    Note,
    Options,
    Order,
    Request,
    Text,
    preview,
)
from dragoman.domain.form_answers import answers
from dragoman.domain.nouns import Sender
from dragoman.domain.plain_text import isolated
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.translations import gettext as _
from dragoman.translations import translated
from dragoman.web.console import wording
from dragoman.web.console.formatting import Times, contact_label, in_plain_text
from dragoman.web.console.timeline import DispatchGroup, TimelineEntry
from dragoman.web.console.transcript import Bubble, Day, Item, ReactionMark


def heading(found: Conversation, times: Times) -> str:
    """Who, where, when, and how it ended."""
    name = contact_label(found.contact_name, found.contact_phone)
    phone = f" ({found.contact_phone})" if found.contact_phone and found.contact_phone != name else ""
    who = f"{isolated(name)}{phone}"
    state, outcome = translated(wording.STATES[found.state].label), translated(wording.OUTCOMES[found.outcome].label)
    reason = f": {found.outcome_reason}" if found.outcome_reason else ""
    channel = f"{translated(wording.CHANNELS.get(found.channel, found.channel))} {found.channel_display}"
    started = times.full(found.started_at)
    lines = (
        _("Conversation with %(name)s", name=who),
        _("Session %(id)s, %(channel)s", id=found.session_id, channel=channel),
        _("Started %(start)s, ended %(end)s", start=started, end=times.full(found.resolved_at))
        if found.resolved_at
        else _("Started %(start)s, ended not yet", start=started),
        _("Times are those of %(zone)s", zone=times.zone_name),
        f"{state}; {outcome}{reason}",
    )
    return "\n".join(lines) + "\n\n" + _headline(_("Transcript"))


def timeline_heading() -> str:
    """What stands between transcript and timeline."""
    return "\n" + _headline(_("Audit timeline"))


def _headline(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


@reads_outside_text
def transcript(items: Sequence[Item], times: Times) -> str:
    """Messages and notices, each with its time and who it is from."""
    return "".join(f"{line}\n" for item in items for line in _item(item, times))


def _item(item: Item, times: Times) -> Iterator[str]:
    if isinstance(item, Day):
        yield ""
        yield item.label
    elif isinstance(item, Bubble):
        yield from _bubble(item, times)
    else:
        yield f"          -- {in_plain_text(item.text)}"


def _bubble(bubble: Bubble, times: Times) -> Iterator[str]:
    message = bubble.message
    who = _who(bubble)
    if isinstance(message.content, Note):
        who = _("%(who)s, internal note", who=who)
    text = bubble.body if bubble.body is not None else _written(message.content)
    first, *others = text.splitlines() or [""]
    yield f"{times.seconds(message.at)}  {who}: {first}"
    yield from (f"          ({line})" for line in _came_from(message.context.referral or {}))
    yield from (f"          {line}" for line in others)
    yield from (f"          ({line})" for line in _beside(bubble, times))


def _who(bubble: Bubble) -> str:
    """Who wrote it: by name with what they are, or what they are alone."""
    if not bubble.is_named:
        return bubble.who
    name = isolated(bubble.who)
    match bubble.message.sender:
        case Sender.CONTACT:
            return _("%(name)s (contact)", name=name)
        case Sender.BOT:
            return _("%(name)s (bot)", name=name)
        case Sender.AGENT:
            return _("%(name)s (agent)", name=name)


def _beside(bubble: Bubble, times: Times) -> Iterator[str]:
    """What became of a message, a line for each."""
    message = bubble.message
    if bubble.written_at:
        written = _(
            "written %(written)s, received %(received)s",
            written=times.full(bubble.written_at),
            received=times.full(message.at),
        )
        yield f"{written}, {bubble.late}" if bubble.late else written
    for before, until in bubble.earlier:
        yield _("edited; until %(time)s: %(text)s", time=times.full(until), text=before)
    if bubble.revoked_at:
        yield _("deleted by the contact at %(time)s", time=times.full(bubble.revoked_at))
    for mark in bubble.reactions:
        yield _reacted(mark, times)
    if message.delivery == "failed" and message.delivery_reason:
        yield _("not delivered: %(reason)s", reason=message.delivery_reason)
    elif message.delivery == "failed":
        yield _("not delivered")
    if message.may_be_duplicate:
        yield translated(wording.MAY_BE_DUPLICATE)


def _reacted(mark: ReactionMark, times: Times) -> str:
    who, at = isolated(mark.who), times.full(mark.at)
    if not mark.removed_at:
        return _("%(who)s reacted with %(emoji)s at %(time)s", who=who, emoji=mark.emoji, time=at)
    return _(
        "%(who)s reacted with %(emoji)s at %(time)s, taken back at %(removed)s",
        who=who,
        emoji=mark.emoji,
        time=at,
        removed=times.full(mark.removed_at),
    )


def _came_from(referral: Mapping[str, Any]) -> Iterator[str]:
    """What led to a message: where it came from, and the product that it asks about."""
    asked = referral if referral.get("source_type") == "product" else referral.get("product")
    if referral and asked is not referral:
        told = [str(referral[key]) for key in ("headline", "source_url") if referral.get(key)]
        yield " ".join(f"{_source(str(referral.get('source_type')))}{': ' if told else ''}{', '.join(told)}".split())
    if isinstance(asked, Mapping):
        yield " ".join(_asked_about(asked.get("product_retailer_id"), asked.get("catalog_id")).split())


def _source(kind: str) -> str:
    match kind:
        case "ad":
            return _("came from an advertisement")
        case "post":
            return _("came from an online post")
        case _:
            return _("came from elsewhere on the web")


def _asked_about(product: object, catalogue: object) -> str:
    if product and catalogue:
        return _(
            "asked about the product %(product)s of the catalogue %(catalogue)s", product=product, catalogue=catalogue
        )
    if product:
        return _("asked about the product %(product)s", product=product)
    if catalogue:
        return _("asked about a product of the catalogue %(catalogue)s", catalogue=catalogue)
    return _("asked about a product")


def _written(content: Content) -> str:  # noqa: PLR0911 - one return for each kind
    """What a content says, with line breaks and options; what is no text in square brackets."""
    match content:
        case Text(body=body) | Note(body=body):
            return body
        case Options(body=body, options=options):
            return "\n".join([body, *(f"[{option.title}]" for option in options)])
        case Link(body=body, title=title, url=url):
            return f"{body}\n[{title}: {url}]"
        case Request(body=body, wants=wants):
            return f"{body}\n[{_button(wants)}]"
        case Media(media=media, caption=caption, filename=filename, link=link):
            return "\n".join(
                part for part in (f"[{media}{': ' + filename if filename else ''}]", link, caption) if part
            )
        case Location(latitude=latitude, longitude=longitude):
            return f"{preview(content)} {latitude:.5f}, {longitude:.5f}"
        case FormReply(name=name, body=body, fields=fields, raw=raw):
            said = [f"{field}: {answer}" for field, answer in answers(fields or {})]
            return "\n".join([f"[{_('form')}] {body or name}", *(said or ([raw] if raw else []))])
        case ContactCards(cards=cards):
            return "\n".join(f"[{_('contact')}] {', '.join(_card(card))}" for card in cards)
        case Order(items=items):
            return "\n".join([preview(content), *(f"{item.quantity} x {item.product}" for item in items)])
        case _:
            return preview(content)


def _button(wants: str) -> str:
    return _("button to send their number") if wants == "contact" else _("button to send their location")


def _card(card: ContactCard) -> Iterator[str]:
    """All that stands on a card, the name first."""
    yield isolated(card.name)
    work = (card.title, card.department, card.organisation)
    yield from filter(None, (*work, *card.phones, *card.emails, *card.addresses, *card.urls, card.birthday))


def timeline(groups: Iterable[DispatchGroup], times: Times) -> str:
    """Write events under the messages that caused them."""
    return "".join(f"{line}\n" for group in groups for line in _group(group, times))


def _group(group: DispatchGroup, times: Times) -> Iterator[str]:
    yield ""
    yield group.title
    for entry in group.entries:
        yield from _entry(entry, times)


def _entry(entry: TimelineEntry, times: Times) -> Iterator[str]:
    states = " -> ".join(
        translated(wording.STATES[state].label) for state in (entry.old_state, entry.new_state) if state
    )
    outcome = translated(wording.OUTCOMES[entry.outcome].label) if entry.outcome else ""
    title = " ".join(part for part in (in_plain_text(entry.title), outcome, states) if part)
    after = f" ({entry.elapsed})" if entry.elapsed else ""
    yield f"{times.dated(entry.event.at)}  {entry.event.position}. {title}{after}"
    if entry.detail:
        yield f"          {in_plain_text(entry.detail)}"
    yield from (f"          {key}: {value}" for key, value in entry.values)
    if entry.explanation:
        yield from (f"          {label}: {in_plain_text(sentence)}" for label, sentence in entry.explanation.facts)
