"""Groups by dispatch, the classifier's bars, the ribbon of states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.content import Text
from dragoman.domain.nouns import Sender
from dragoman.ledger.read import Event
from dragoman.web.console import timeline
from dragoman.web.console.timeline import Entry
from tests.browser.records import START, event, message

ONE, TWO = UUID(int=1001), UUID(int=1002)


def entry(found: Event, *known: str) -> Entry:
    return timeline.entries_of([found], frozenset(known))[0]


def test_events_stand_under_the_message_that_caused_them() -> None:
    events = [
        event(1, "message.received", ONE),
        event(2, "message.status", None, status="sent"),
        event(3, "message.received", TWO),
        event(4, "outcome.assigned", ONE),
        event(5, "session.expired", None),
    ]
    messages = [
        message(1, Text("where is my order"), dispatch_id=ONE),
        message(2, Text("we look"), Sender.BOT, dispatch_id=ONE),
        message(3, Text("hello?"), dispatch_id=TWO),
    ]
    groups = timeline.grouped(timeline.entries_of(events, frozenset()), messages)
    assert [group.title for group in groups] == [
        "“where is my order”",
        "Delivery of the replies",
        "“hello?”",
        "Continued: “where is my order”",
        "Without a message",
    ]
    assert [group.anchor for group in groups] == [f"d-{ONE}", "g2", f"d-{TWO}", "g4", "g5"]
    assert groups[0].message == f"m-{messages[0].message_id}"
    assert [len(group.entries) for group in groups] == [1] * 5


def test_an_event_points_only_at_a_message_that_is_there() -> None:
    received = event(1, "message.received", message_id="m1", kind="text")
    assert entry(received, "m1").message == "m-m1"
    assert entry(received).message == ""


def test_the_classifiers_guesses_have_bars() -> None:
    guesses = [{"intent": "a", "confidence": 0.9}, {"intent": "b", "confidence": 0.3}, {"intent": "c"}, "junk"]
    found = entry(event(1, "classifier.ran", candidates=guesses, threshold=0.5))
    assert [(guess.intent, guess.width, guess.enough) for guess in found.candidates] == [
        ("a", "90.00%", True),
        ("b", "30.00%", False),
    ]
    assert found.threshold == "50.00%"


def test_states_and_outcomes_are_badges_where_they_are_known() -> None:
    changed = entry(event(1, "state.changed", old="ACTIVE", new="RESOLVED", reason="done"))
    assert (changed.old_state, changed.new_state) == ("ACTIVE", "RESOLVED")
    assert entry(event(1, "state.changed", old="X", new="<b>")).new_state == ""
    assert entry(event(1, "outcome.assigned", outcome="SUCCESS")).outcome == "SUCCESS"
    assert entry(event(1, "outcome.assigned", outcome=["x"])).outcome == ""


def test_an_unknown_type_is_shown_under_its_own_name() -> None:
    found = entry(event(1, "planet.aligned", size=3))
    assert str(found.title) == "planet.aligned"
    assert '"size": 3' in found.payload


def test_a_failed_delivery_is_an_error() -> None:
    assert entry(event(1, "message.status", None, status="failed", code=131026)).about == "error"
    assert entry(event(1, "message.status", None, status="read")).about == ""


def test_the_ribbon_shows_how_long_each_state_lasted() -> None:
    events = [
        event(1, "session.opened"),
        event(2, "state.changed", seconds=0, new="ACTIVE"),
        event(3, "state.changed", seconds=25, new="AWAITING_USER"),
        event(4, "state.changed", seconds=100, new="EXPIRED"),
    ]
    found = timeline.ribbon(events, START + timedelta(hours=1))
    assert [(s.state, s.start, s.width) for s in found] == [
        ("ACTIVE", "0.00%", "25.00%"),
        ("AWAITING_USER", "25.00%", "75.00%"),
    ]
    assert timeline.shares(found) == [("AWAITING_USER", 0.75), ("ACTIVE", 0.25)]


def test_a_session_in_progress_reaches_to_now() -> None:
    events = [event(1, "session.opened"), event(2, "state.changed", seconds=10, new="ACTIVE")]
    found = timeline.ribbon(events, START + timedelta(seconds=40))
    assert [(s.state, s.width) for s in found] == [("OPEN", "25.00%"), ("ACTIVE", "75.00%")]
    assert timeline.ribbon([], START) == []


@given(st.lists(st.tuples(st.sampled_from(["ACTIVE", "PROCESSING", "RESOLVED", 7]), st.floats(0, 1e6)), max_size=8))
def test_the_ribbon_fills_the_width_whatever_happened(turns: list[tuple[Any, float]]) -> None:
    times = sorted(second for _, second in turns)
    events = [event(1, "session.opened")]
    events += [
        event(n, "state.changed", seconds=second, new=state)
        for n, ((state, _), second) in enumerate(zip(turns, times, strict=True), start=2)
    ]
    found = timeline.ribbon(events, START + timedelta(seconds=2e6))
    assert abs(sum(stretch.share for stretch in found) - 1) < 1e-6
