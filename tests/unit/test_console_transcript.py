"""What later messages do to earlier bubbles, and what stands between them."""

from __future__ import annotations

from datetime import timedelta

from dragoman.domain.content import Choice, Edit, Option, Options, Reaction, Revoke, SystemNotice, Text
from dragoman.domain.nouns import Sender
from dragoman.ledger.read import Event, Message
from dragoman.web.console.formatting import Times
from dragoman.web.console.transcript import Bubble, Day, Item, Notice, items
from tests.browser.records import DISPATCH, START, event, message

TIMES = Times.for_zone("UTC", START)


def shown(*messages: Message, events: tuple[Event, ...] = ()) -> list[Item]:
    return items(messages, events, contact="Ana", times=TIMES)


def bubbles(found: list[Item]) -> list[Bubble]:
    return [item for item in found if isinstance(item, Bubble)]


def test_each_day_is_marked_once() -> None:
    found = shown(message(1, Text("a")), message(2, Text("b")), message(3, Text("c"), at=START + timedelta(days=1)))
    assert [item.label for item in found if isinstance(item, Day)] == ["Today, 23 November 2026", "24 November 2026"]


def test_a_run_of_one_sender_is_labelled_once() -> None:
    found = bubbles(
        shown(
            message(1, Text("a")),
            message(2, Text("b")),
            message(3, Text("c"), Sender.BOT),
            message(4, Text("d"), Sender.AGENT, sender_name="Rui"),
            message(5, Text("e"), Sender.AGENT, sender_name="Mei"),
        )
    )
    assert [bubble.first for bubble in found] == [True, False, True, True, True]
    assert [bubble.who for bubble in found] == ["Ana", "Ana", "Bot", "Rui", "Mei"]


def test_a_reaction_stands_on_its_message_and_stays_when_it_is_taken_back() -> None:
    found = shown(
        message(1, Text("a"), Sender.BOT),
        message(2, Reaction(target="w1", emoji="👍")),
        message(3, Reaction(target="w1", emoji="❤️")),
        message(4, Reaction(target="w1", emoji=None)),
    )
    (bubble,) = bubbles(found)
    assert [(mark.emoji, mark.removed_at) for mark in bubble.reactions] == [
        ("👍", START + timedelta(minutes=3)),
        ("❤️", START + timedelta(minutes=4)),
    ]
    assert [item.text for item in found if isinstance(item, Notice)] == ["<bdi>Ana</bdi> took a reaction back"]


def test_a_reaction_to_something_else_is_a_bubble_of_its_own() -> None:
    (bubble,) = bubbles(shown(message(1, Reaction(target="elsewhere", emoji="👍"))))
    assert isinstance(bubble.message.content, Reaction)


def test_edits_keep_every_earlier_text() -> None:
    found = shown(
        message(1, Text("one")), message(2, Edit(target="w1", body="two")), message(3, Edit(target="w1", body="three"))
    )
    (bubble,) = bubbles(found)
    assert bubble.body == "three"
    assert [text for text, _ in bubble.earlier] == ["one", "two"]
    assert [item.goto for item in found if isinstance(item, Notice)] == [bubble.anchor, bubble.anchor]


def test_a_deleted_message_stays() -> None:
    found = shown(message(1, Text("secret")), message(2, Revoke(target="w1")))
    (bubble,) = bubbles(found)
    assert bubble.revoked_at == START + timedelta(minutes=2)
    assert bubble.message.content == Text("secret")


def test_a_message_cannot_act_on_itself() -> None:
    (bubble,) = bubbles(shown(message(1, Revoke(target="w1"))))
    assert bubble.revoked_at is None


def test_a_tap_marks_the_options_that_it_answers() -> None:
    offer = Options(body="?", options=(Option(id="a", title="A"), Option(id="b", title="B")))
    named = bubbles(
        shown(
            message(1, offer, Sender.BOT),
            message(2, offer, Sender.BOT),
            message(3, Choice(source="button", id="b", title="B"), reply_to="w1"),
        )
    )
    assert [bubble.tapped for bubble in named] == [{"b"}, set(), set()]
    unnamed = bubbles(
        shown(
            message(1, offer, Sender.BOT),
            message(2, offer, Sender.BOT),
            message(3, Choice(source="button", id="a", title="A")),
        )
    )
    assert [bubble.tapped for bubble in unnamed] == [set(), {"a"}, set()]


def test_quotes_name_the_message_or_say_that_it_is_not_here() -> None:
    found = bubbles(
        shown(
            message(1, Text("a"), Sender.BOT),
            message(2, Text("b"), reply_to="w1"),
            message(3, Text("c"), reply_to="elsewhere"),
        )
    )
    assert [bubble.quote and (bubble.quote.who, bubble.quote.anchor) for bubble in found] == [
        None,
        ("Bot", found[0].anchor),
        ("An earlier message", ""),
    ]


def test_a_message_leads_to_its_steps() -> None:
    found = bubbles(
        shown(
            message(1, Text("a"), dispatch_id=DISPATCH),
            message(2, Text("b"), Sender.BOT, dispatch_id=DISPATCH),
            events=(event(1, "message.received"), event(2, "intent.assigned")),
        )
    )
    assert [(bubble.steps, bubble.group) for bubble in found] == [(2, f"d-{DISPATCH}"), (0, "")]


def test_failures_and_handoffs_stand_between_the_messages_and_lead_to_their_event() -> None:
    found = shown(
        message(1, Text("a")),
        message(3, Text("b")),
        message(4, SystemNotice(event="x", body="new number")),
        events=(
            event(1, "outcome.assigned", seconds=120, outcome="SKILL_ERROR", reason="it timed out"),
            event(2, "handoff.requested", seconds=150, reason="asked for a person"),
            event(3, "outcome.assigned", seconds=156, outcome="SUCCESS", reason="fine"),
        ),
    )
    notices = [(item.text.striptags(), item.goto) for item in found if isinstance(item, Notice)]
    assert notices == [
        ("Skill Error: it timed out", "e1"),
        ("Escalated to an agent: asked for a person", "e2"),
        ("new number", ""),
    ]
    kinds = [item.item for item in found]
    assert kinds == ["day", "bubble", "notice", "notice", "bubble", "notice"]


def test_a_late_message_says_when_it_was_written_and_how_late_it_came() -> None:
    late = Bubble(
        message=message(1, Text("x"), channel_at=START + timedelta(minutes=1) - timedelta(days=5)), first=True, who="A"
    )
    assert late.late == "5 days late"
    hours = Bubble(message=message(1, Text("x"), channel_at=START - timedelta(hours=3)), first=True, who="A")
    assert hours.late == "3 h late"
    assert (
        Bubble(message=message(1, Text("x"), channel_at=START + timedelta(minutes=1)), first=True, who="A").late == ""
    )


def test_the_errors_of_a_turn_lead_to_the_first_that_failed() -> None:
    found = shown(
        message(1, Text("x"), dispatch_id=DISPATCH),
        events=(event(1, "message.received"), event(2, "skill.failed"), event(3, "skill.failed")),
    )
    (bubble,) = bubbles(found)
    assert (bubble.errors, bubble.first_error, bubble.group) == (2, "e2", f"d-{DISPATCH}")
