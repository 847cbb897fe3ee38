"""The transcript as the page shows it: bubbles with what was done to them later, days, notices between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from markupsafe import Markup

from dragoman.domain.content import (
    Choice,
    Content,
    Edit,
    Media,
    Note,
    Options,
    Reaction,
    Revoke,
    SystemNotice,
    preview,
)
from dragoman.domain.nouns import Sender
from dragoman.domain.plain_text import cut, visible_name
from dragoman.ledger.pages import QuotedElsewhere, StepCount, errors_among
from dragoman.ledger.read import Event, Message
from dragoman.store.conversation_list.late_messages import LATE
from dragoman.translations import gettext as _
from dragoman.translations import markup, translated
from dragoman.translations import ngettext as _n
from dragoman.web.console import wording
from dragoman.web.console.attachments import MessageAttachment
from dragoman.web.console.formatting import Times, names_only, person, rough_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a message answers to; ``anchor`` is where that stands, ``session_id`` in which other session.

    Both are empty where it stands nowhere.
    """

    who: str
    text: str
    anchor: str
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionMark:
    """An emoji on a bubble; ``goto`` leads to its dispatch, ``removed_at`` is when it was taken off again.

    ``by`` is the same for all of one person's, whatever they are called by then.
    """

    anchor: str
    emoji: str
    who: str
    at: datetime
    by: str = ""
    goto: str = ""
    removed_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Bubble:
    """One message, with what later messages did to it.

    ``first`` opens a run of one sender. ``steps`` counts the events that its dispatch caused, ``errors`` those of
    them that are errors; ``group`` is their place in the timeline, ``first_error`` that of the first error. ``tapped``
    holds the ids of the options that were chosen. ``file`` is None where none came with the message, or nothing is
    known of it. ``delivery`` is the address of what the channel delivered, for who may see that.
    """

    message: Message
    first: bool
    who: str
    file: MessageAttachment | None = None
    quote: Quote | None = None
    earlier: list[tuple[str, datetime]] = field(default_factory=list)
    body: str | None = None
    revoked_at: datetime | None = None
    reactions: list[ReactionMark] = field(default_factory=list)
    tapped: set[str] = field(default_factory=set)
    steps: int = 0
    errors: int = 0
    group: str = ""
    first_error: str = ""
    delivery: str = ""
    item: str = "bubble"

    @property
    def anchor(self) -> str:
        """Is the element's id."""
        return f"m-{self.message.message_id}"

    @property
    def written_at(self) -> datetime | None:
        """When it was written, by the channel's clock, where that was well before it arrived; else None."""
        at, written = self.message.at, self.message.channel_at
        return written if written is not None and abs(at - written) >= LATE else None

    @property
    def late(self) -> str:
        """How long after it was written it arrived, in words; empty where it did not come late."""
        if self.written_at is None or self.written_at > self.message.at:
            return ""
        late = self.message.at - self.written_at
        if late.days:
            return _n("%(count)s day late", "%(count)s days late", late.days)
        return _("%(duration)s late", duration=rough_duration(late.total_seconds()))

    @property
    def is_named(self) -> bool:
        """Whether ``who`` is a name, and not what the bot or an unnamed agent is called."""
        return self.message.sender is Sender.CONTACT or (
            self.message.sender is Sender.AGENT and bool(self.message.sender_name)
        )

    @property
    def look(self) -> str:
        """How the bubble is cut: around a ``picture``, without one for a ``sticker``, or as usual."""
        content = self.message.content
        if not isinstance(content, Media) or self.file is None or self.file.state != "stored":
            return ""
        if self.file.shown not in {"picture", "film"}:
            return ""
        if content.media == "sticker":
            return "sticker"
        return "picture" if content.caption or self.earlier or self.revoked_at else "picture bare"

    @property
    def side(self) -> str:
        """Where it stands: ``in`` for the contact, ``out`` for us."""
        return "in" if self.message.sender is Sender.CONTACT else "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """Stands before the first message of a day; ``date`` is in ISO form."""

    label: str
    date: str
    item: str = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something between the bubbles; ``goto`` is the element that it leads to, empty for none.

    ``text`` has no marks but those that set names apart.
    """

    anchor: str
    icon: str
    text: Markup
    goto: str = ""
    hue: str = ""
    item: str = "notice"


Item = Bubble | Day | Notice

_NOTICES: Mapping[str, tuple[str, str]] = {
    "admission.refused": ("gauge", "amber"),
    "budget.exceeded": ("wallet", "amber"),
    "handoff.requested": ("headset", "violet"),
    "handoff.claimed": ("user-round-check", "violet"),
    "handoff.unassigned": ("inbox", "violet"),
    "handoff.ended": ("bot", "violet"),
    "code.reported": ("shield-alert", "red"),
    "verification.required": ("shield-alert", "amber"),
    "skill.retired": ("archive", "red"),
    "flow.step_failed": ("circle-x", "red"),
    "dispatch.orphaned": ("unlink", "pink"),
    "dispatch.retried": ("undo-2", ""),
    "session.resolved": ("flag", ""),
    "session.expired": ("timer-off", ""),
}
"""Events that stand in the transcript too, with icon and hue; an outcome that is an error joins them."""

NOTICE_TYPES = frozenset({*_NOTICES, "outcome.assigned"})
"""The types of events that :func:`items` looks at for its notices."""


def items(
    messages: Sequence[Message],
    events: Sequence[Event],
    *,
    contact: str,
    times: Times,
    related_messages: Sequence[Message] = (),
    quoted_elsewhere: Mapping[str, QuotedElsewhere] = MappingProxyType({}),
    steps: Mapping[UUID, StepCount] | None = None,
    files: Mapping[UUID, MessageAttachment] | None = None,
) -> list[Item]:
    """Everything in the order in which it came; what was done to a message stands on that message.

    *messages* may be a part of the transcript: *related_messages* are those elsewhere that belong to it, which are
    not shown themselves. *quoted_elsewhere* are messages of other sessions, by the channel's ids. Without *steps* a
    dispatch's steps are counted among *events*.
    """
    shown = {message.ordinal for message in messages}
    messages = sorted([*messages, *related_messages], key=lambda message: message.ordinal)
    bubbles = _bubbles(messages, contact, files or {})
    by_channel_id = {
        bubble.message.channel_message_id: bubble for bubble in bubbles.values() if bubble.message.channel_message_id
    }
    placed: list[tuple[datetime, int, Item]] = []
    # In the order in which they were done, by the clock of who did them: they may have arrived in another.
    marks = {
        message.ordinal: _apply(message, by_channel_id, contact)
        for message in sorted(messages, key=lambda message: (message.channel_at or message.at, message.ordinal))
    }
    for order, message in enumerate(messages):
        applied = marks[message.ordinal]
        made = [_notice_of(message) or bubbles[message.ordinal]] if applied is None else applied
        if message.ordinal in shown:
            placed += [(message.at, order, item) for item in made]
    _quote(bubbles, by_channel_id, quoted_elsewhere, contact)
    _tap(messages, bubbles, by_channel_id)
    _count_steps(bubbles, _steps(events) if steps is None else steps)
    placed += [(event.at, len(messages) + event.position, notice) for event, notice in _notices(events)]
    return list(_with_days([item for _at, _order, item in sorted(placed, key=lambda place: place[:2])], placed, times))


def _bubbles(messages: Sequence[Message], contact: str, files: Mapping[UUID, MessageAttachment]) -> dict[int, Bubble]:
    return {
        message.ordinal: Bubble(
            message=message, first=True, who=_who(message, contact), file=files.get(message.message_id)
        )
        for message in messages
    }


def _snippet(content: Content) -> str:
    """A line that stands for *content* in a quote."""
    if isinstance(content, Media) and not content.caption and not content.filename:
        return translated(wording.MEDIA.get(content.media, (content.media,))[0])
    return cut(preview(content), 200)


def _who(message: Message, contact: str) -> str:
    if message.sender is Sender.CONTACT:
        return visible_name(message.sender_name) or contact
    if message.sender is Sender.BOT:
        return translated(wording.SENDERS["bot"])
    return message.sender_name or translated(wording.SENDERS["agent"])


def _apply(message: Message, bubbles: Mapping[str, Bubble], contact: str) -> list[Item] | None:
    """Put a reaction, an edit or a deletion on the bubble that it is about.

    Answers the notices that tell of it, or None for what is not about a bubble here and stands alone.
    """
    content = message.content
    if not isinstance(content, Reaction | Edit | Revoke):
        return None
    target = bubbles.get(content.target)
    if target is None or target.message.message_id == message.message_id:
        return None
    anchor, who = f"m-{message.message_id}", _who(message, contact)
    match content:
        case Reaction():
            return _react(message, content, target, who)
        case Edit(body=body):
            before = target.body if target.body is not None else preview(target.message.content)
            target.earlier.append((before, message.at))
            target.body = body
            return [
                Notice(
                    anchor=anchor,
                    icon="pencil",
                    text=markup("%(who)s edited a message", who=person(who)),
                    goto=target.anchor,
                )
            ]
        case Revoke():
            target.revoked_at = message.at
            text = markup("%(who)s deleted a message; it stays on record", who=person(who))
            return [Notice(anchor=anchor, icon="trash-2", text=text, goto=target.anchor)]


def _react(message: Message, reaction: Reaction, target: Bubble, who: str) -> list[Item]:
    anchor = f"m-{message.message_id}"
    # A contact may be called otherwise by now; in a group many write, who are told apart by nothing else.
    by = who if message.context.group_id else str(message.sender)
    for place, mark in enumerate(target.reactions):
        # A contact has one reaction on a message; the mark of the one before stays, struck through.
        if mark.by == by and mark.removed_at is None:
            target.reactions[place] = dataclasses.replace(mark, removed_at=message.at)
    if reaction.emoji is None:
        text = markup("%(who)s took a reaction back", who=person(who))
        return [Notice(anchor=anchor, icon="smile", text=text, goto=target.anchor)]
    goto = f"d-{message.dispatch_id}" if message.dispatch_id else ""
    target.reactions.append(ReactionMark(anchor=anchor, emoji=reaction.emoji, who=who, at=message.at, by=by, goto=goto))
    return []


def _notice_of(message: Message) -> Notice | None:
    if not isinstance(message.content, SystemNotice):
        return None
    return Notice(anchor=f"m-{message.message_id}", icon="circle-alert", text=person(message.content.body))


def _quote(
    bubbles: Mapping[int, Bubble],
    by_channel_id: Mapping[str, Bubble],
    elsewhere: Mapping[str, QuotedElsewhere],
    contact: str,
) -> None:
    for bubble in bubbles.values():
        wanted = bubble.message.context.reply_to
        # A tap says itself what it answers to.
        if not wanted or isinstance(bubble.message.content, Choice):
            continue
        target = by_channel_id.get(wanted)
        if target is None and (found := elsewhere.get(wanted)) is not None:
            bubble.quote = Quote(
                who=_who(found.message, contact),
                text=_snippet(found.message.content),
                anchor=f"m-{found.message.message_id}",
                session_id=found.session_id,
            )
        elif target is None:
            bubble.quote = Quote(who=_("An earlier message"), text=_("It is not on record here."), anchor="")
        else:
            text = _snippet(target.message.content)
            bubble.quote = Quote(who=_who(target.message, contact), text=text, anchor=target.anchor)


def _tap(messages: Sequence[Message], bubbles: Mapping[int, Bubble], by_channel_id: Mapping[str, Bubble]) -> None:
    for place, message in enumerate(messages):
        if not isinstance(message.content, Choice):
            continue
        wanted = message.context.reply_to
        named = by_channel_id.get(wanted) if wanted else None
        before = (bubbles[earlier.ordinal] for earlier in reversed(messages[:place]))
        for bubble in [named] if named else before:
            content = bubble.message.content
            if isinstance(content, Options) and any(o.id == message.content.id for o in content.options):
                bubble.tapped.add(message.content.id)
                break


def _steps(events: Sequence[Event]) -> Mapping[UUID, StepCount]:
    failed = {event.position for event in errors_among(events, wording.ERRORS)}
    counted: dict[UUID, StepCount] = {}
    for event in events:
        if event.dispatch_id is not None:
            before = counted.get(event.dispatch_id, StepCount(count=0, errors=0))
            is_error = event.position in failed
            counted[event.dispatch_id] = StepCount(
                count=before.count + 1,
                errors=before.errors + is_error,
                first_error=event.position if is_error and before.first_error is None else before.first_error,
            )
    return counted


def _count_steps(bubbles: Mapping[int, Bubble], steps: Mapping[UUID, StepCount]) -> None:
    for bubble in bubbles.values():
        dispatch = bubble.message.dispatch_id
        if bubble.message.came_in and dispatch is not None and dispatch in steps:
            found = steps[dispatch]
            bubble.steps, bubble.errors = found.count, found.errors
            bubble.group = f"d-{dispatch}"
            bubble.first_error = f"e{found.first_error}" if found.first_error is not None else ""


def _notices(events: Sequence[Event]) -> Iterable[tuple[Event, Notice]]:
    for event in events:
        if event.type == "handoff.ended" and event.payload.get("how") in ("resolved", "ended"):
            # The end of the session stands beside it.
            continue
        look = _NOTICES.get(event.type)
        outcome = str(event.payload.get("outcome")) if event.type == "outcome.assigned" else ""
        if outcome in _TOLD_OUTCOMES:
            words = wording.OUTCOMES[outcome]
            look = (words.icon, words.hue)
            text = Markup("{}: {}").format(translated(words.label), event.payload.get("reason", ""))
        elif look is not None:
            facts = wording.Facts(event.payload)
            told = wording.EVENTS[event.type]
            text = Markup(": ").join(names_only(part) for part in (told.title(facts), told.detail(facts)) if part)
        if look is not None:
            yield (
                event,
                Notice(anchor=f"n{event.position}", icon=look[0], hue=look[1], text=text, goto=f"e{event.position}"),
            )


_TOLD_OUTCOMES = frozenset({"SKILL_ERROR", "SESSION_BUSY"})
"""Outcomes whose event has no notice of its own beside it."""


def _with_days(ordered: Sequence[Item], placed: Sequence[tuple[datetime, int, Item]], times: Times) -> Iterable[Item]:
    at_of = {id(item): at for at, _order, item in placed}
    day, previous = None, None
    for item in ordered:
        at = times.local(at_of[id(item)])
        if at.date() != day:
            day = at.date()
            previous = None
            yield Day(label=times.day(at), date=at.date().isoformat())
        if isinstance(item, Bubble):
            item.first = not isinstance(previous, Bubble) or (
                previous.message.sender,
                previous.who,
                isinstance(previous.message.content, Note),
            ) != (item.message.sender, item.who, isinstance(item.message.content, Note))
        previous = item
        yield item
