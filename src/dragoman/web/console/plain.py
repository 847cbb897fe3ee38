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
from dragoman.domain.plain_text import contact_label, isolated
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.web.console import wording
from dragoman.web.console.formatting import Times, in_plain_text
from dragoman.web.console.timeline import DispatchGroup, TimelineEntry
from dragoman.web.console.transcript import Bubble, Day, Item

TIMELINE = "\nAudit timeline\n==============\n"

_SENDERS = {"contact": "contact", "bot": "bot", "agent": "agent"}


def heading(found: Conversation, times: Times) -> str:
    """Who, where, when, and how it ended."""
    name = contact_label(found.contact_name, found.contact_phone)
    phone = f" ({found.contact_phone})" if found.contact_phone and found.contact_phone != name else ""
    outcome = wording.OUTCOMES[found.outcome].label
    reason = f": {found.outcome_reason}" if found.outcome_reason else ""
    ended = times.full(found.resolved_at) if found.resolved_at else "not yet"
    lines = (
        f"Conversation with {isolated(name)}{phone}",
        f"Session {found.session_id}, {wording.CHANNELS.get(found.channel, found.channel)} {found.channel_display}",
        f"Started {times.full(found.started_at)}, ended {ended}",
        f"Times are those of {times.zone_name}",
        f"{wording.STATES[found.state].label}; {outcome}{reason}",
    )
    return "\n".join(lines) + "\n\nTranscript\n==========\n"


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
    role = _SENDERS[message.sender]
    who = role.capitalize() if bubble.who.casefold() == role else f"{isolated(bubble.who)} ({role})"
    if isinstance(message.content, Note):
        who = f"{who}, internal note"
    text = bubble.body if bubble.body is not None else _written(message.content)
    first, *others = text.splitlines() or [""]
    yield f"{times.seconds(message.at)}  {who}: {first}"
    yield from (f"          ({line})" for line in _came_from(message.context.referral or {}))
    yield from (f"          {line}" for line in others)
    if bubble.written_at:
        late = f", {bubble.late}" if bubble.late else ""
        yield f"          (written {times.full(bubble.written_at)}, received {times.full(message.at)}{late})"
    for before, until in bubble.earlier:
        yield f"          (edited; until {times.full(until)}: {before})"
    if bubble.revoked_at:
        yield f"          (deleted by the contact at {times.full(bubble.revoked_at)})"
    for mark in bubble.reactions:
        taken = f", taken back at {times.full(mark.removed_at)}" if mark.removed_at else ""
        yield f"          ({isolated(mark.who)} reacted with {mark.emoji} at {times.full(mark.at)}{taken})"
    if message.delivery == "failed":
        yield f"          (not delivered{': ' + message.delivery_reason if message.delivery_reason else ''})"
    if message.may_be_duplicate:
        yield f"          ({wording.MAY_BE_DUPLICATE})"


def _came_from(referral: Mapping[str, Any]) -> Iterator[str]:
    """What led to a message: where it came from, and the product that it asks about."""
    asked = referral if referral.get("source_type") == "product" else referral.get("product")
    if referral and asked is not referral:
        sources = {"ad": "an advertisement", "post": "an online post"}
        told = [str(referral[key]) for key in ("headline", "source_url") if referral.get(key)]
        source = sources.get(str(referral.get("source_type")), "elsewhere on the web")
        yield " ".join(f"came from {source}{': ' if told else ''}{', '.join(told)}".split())
    if isinstance(asked, Mapping):
        named, catalogue = asked.get("product_retailer_id"), asked.get("catalog_id")
        product = f"the product {named}" if named else "a product"
        yield " ".join(f"asked about {product}{f' of the catalogue {catalogue}' if catalogue else ''}".split())


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
            return f"{body}\n[button to send their {'number' if wants == 'contact' else 'location'}]"
        case Media(media=media, caption=caption, filename=filename, link=link):
            return "\n".join(
                part for part in (f"[{media}{': ' + filename if filename else ''}]", link, caption) if part
            )
        case Location(latitude=latitude, longitude=longitude):
            return f"{preview(content)} {latitude:.5f}, {longitude:.5f}"
        case FormReply(name=name, body=body, fields=fields, raw=raw):
            said = [f"{field}: {answer}" for field, answer in answers(fields or {})]
            return "\n".join([f"[form] {body or name}", *(said or ([raw] if raw else []))])
        case ContactCards(cards=cards):
            return "\n".join(f"[contact] {', '.join(_card(card))}" for card in cards)
        case Order(items=items):
            return "\n".join([preview(content), *(f"{item.quantity} x {item.product}" for item in items)])
        case _:
            return preview(content)


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
    states = " -> ".join(wording.STATES[state].label for state in (entry.old_state, entry.new_state) if state)
    outcome = wording.OUTCOMES[entry.outcome].label if entry.outcome else ""
    title = " ".join(part for part in (in_plain_text(entry.title), outcome, states) if part)
    after = f" ({entry.elapsed})" if entry.elapsed else ""
    yield f"{times.dated(entry.event.at)}  {entry.event.position}. {title}{after}"
    if entry.detail:
        yield f"          {in_plain_text(entry.detail)}"
    yield from (f"          {key}: {value}" for key, value in entry.values)
    if entry.explanation:
        yield from (f"          {label}: {in_plain_text(sentence)}" for label, sentence in entry.explanation.facts)
