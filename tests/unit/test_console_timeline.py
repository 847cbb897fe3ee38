"""Groups by dispatch, the classifier's bars, the ribbon of states."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.content import Text
from dragoman.domain.nouns import Sender
from dragoman.ledger.pages import StateSpan, TimelineDigest
from dragoman.ledger.read import Event
from dragoman.web.console import timeline
from dragoman.web.console.timeline import Fold, TimelineEntry
from tests.browser.records import DISPATCH, START, event, message

ONE, TWO = UUID(int=1001), UUID(int=1002)


def entry(found: Event, known: frozenset[str] | None = None) -> TimelineEntry:
    return timeline.entries_of([found], known)[0]


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
        "Delivery status",
        "“hello?”",
        "Continued: “where is my order”",
        "Without a message",
    ]
    assert [group.anchor for group in groups] == [f"d-{ONE}", "g2", f"d-{TWO}", "g4", "g5"]
    assert groups[0].message == f"m-{messages[0].message_id}"
    assert [len(group.entries) for group in groups] == [1] * 5


def test_an_event_points_only_at_a_message_that_is_there() -> None:
    received = event(1, "message.received", message_id="m1", kind="text")
    assert entry(received, frozenset({"m1"})).message == "m-m1"
    assert entry(received, frozenset()).message == ""
    assert entry(received).message == "m-m1"


def test_the_classifiers_guesses_have_bars() -> None:
    guesses = [{"intent": "a", "confidence": 0.9}, {"intent": "b", "confidence": 0.3}, {"intent": "c"}, "junk"]
    found = entry(event(1, "classifier.ran", candidates=guesses, threshold=0.5))
    assert found.guesses is not None
    assert [(guess.intent, guess.width, guess.enough) for guess in found.guesses.candidates] == [
        ("a", "90.00%", True),
        ("b", "30.00%", False),
    ]
    assert found.guesses.mark == "50.00%"


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


def stay(state: str, start: float, end: float | None) -> StateSpan:
    until = None if end is None else START + timedelta(seconds=end)
    return StateSpan(state=state, start=START + timedelta(seconds=start), end=until)


def test_the_ribbon_shows_how_long_each_state_lasted() -> None:
    stays = [stay("ACTIVE", 0, 25), stay("AWAITING_USER", 25, 100), stay("EXPIRED", 100, None)]
    found = timeline.ribbon(stays, START + timedelta(hours=1))
    assert [(s.state, s.start, s.width) for s in found] == [
        ("ACTIVE", "0.00%", "25.00%"),
        ("AWAITING_USER", "25.00%", "75.00%"),
    ]
    assert (found[1].since, found[1].until) == (START + timedelta(seconds=25), START + timedelta(seconds=100))
    figures = TimelineDigest(
        events=9, errors=0, calls=0, versions=[], state_spans=stays, spent={"ACTIVE": 25, "AWAITING_USER": 75, "X": 1}
    )
    assert timeline.spent(figures, START + timedelta(hours=1)) == [("AWAITING_USER", 75), ("ACTIVE", 25)]


def test_a_session_in_progress_reaches_to_now() -> None:
    stays = [stay("OPEN", 0, 10), stay("ACTIVE", 10, None)]
    now = START + timedelta(seconds=40)
    assert [(s.state, s.width) for s in timeline.ribbon(stays, now)] == [("OPEN", "25.00%"), ("ACTIVE", "75.00%")]
    figures = TimelineDigest(events=2, errors=0, calls=0, versions=[], state_spans=stays, spent={"OPEN": 10.0})
    assert timeline.spent(figures, now) == [("ACTIVE", 30), ("OPEN", 10)]
    assert timeline.ribbon([], START) == []


@given(st.lists(st.tuples(st.sampled_from(["ACTIVE", "PROCESSING", "RESOLVED", "?"]), st.floats(0, 1e6)), max_size=8))
def test_the_ribbon_fills_the_width_whatever_happened(turns: list[tuple[str, float]]) -> None:
    starts = sorted(second for _, second in turns)
    stays = [stay("OPEN", 0, None)]
    stays += [stay(state, second, None) for (state, _), second in zip(turns, starts, strict=True)]
    found = timeline.ribbon(stays, START + timedelta(seconds=2e6))
    assert abs(sum(stretch.share for stretch in found) - 1) < 1e-6


def test_retries_are_folded_between_the_first_call_and_the_last_result() -> None:
    events = [
        event(1, "message.received"),
        event(2, "skill.invoked", skill="a.b", attempt=1),
        event(3, "skill.failed", skill="a.b", attempt=1, error_class="RetryableError"),
        event(4, "skill.retry_scheduled", skill="a.b", next_attempt=2, delay_seconds=0.5),
        event(5, "skill.invoked", skill="a.b", attempt=2),
        event(6, "skill.failed", skill="a.b", attempt=2, error_class="TimeoutError"),
        event(7, "skill.retry_scheduled", skill="a.b", next_attempt=3, delay_seconds=1.5),
        event(8, "skill.invoked", skill="a.b", attempt=3),
        event(9, "skill.succeeded", skill="a.b", attempt=3),
        event(10, "skill.invoked", skill="c.d", attempt=1),
        event(11, "skill.failed", skill="c.d", attempt=1),
    ]
    (group,) = timeline.grouped(timeline.entries_of(events), [])
    shape = [
        [e.event.position for e in row.entries] if isinstance(row, Fold) else row.event.position for row in group.rows
    ]
    assert shape == [1, 2, [3, 4, 5, 6, 7, 8], 9, 10, 11]
    fold = group.rows[2]
    assert isinstance(fold, Fold)
    assert (fold.title, fold.detail) == ("2 earlier attempts failed", "RetryableError, TimeoutError · paused 2 s")


def test_a_turn_tells_when_each_step_was_and_where_its_time_went() -> None:
    events = [
        event(1, "message.received", seconds=10),
        event(2, "classifier.ran", seconds=10.1, classifier="local", duration_ms=100.0),
        event(3, "skill.failed", seconds=11, skill="a.b", duration_ms=800),
        event(4, "skill.retry_scheduled", seconds=11, skill="a.b", delay_seconds=0.5),
        event(5, "skill.succeeded", seconds=12, skill="a.b", duration_ms=500),
        event(6, "outcome.assigned", seconds=12),
    ]
    (group,) = timeline.grouped(timeline.entries_of(events), [])
    assert [entry.elapsed for entry in group.entries] == [
        *("+0.000 s", "+0.100 s", "+1.000 s", "+1.000 s", "+2.000 s", "+2.000 s"),
    ]
    assert group.lasted == "2 s"
    assert [(step.name, step.lasted, step.start, step.width) for step in group.timed_steps] == [
        ("Classifier local", "100 ms", "0.00%", "5.00%"),
        ("a.b", "800 ms", "10.00%", "40.00%"),
        ("Pause before retry", "500 ms", "50.00%", "25.00%"),
        ("a.b", "500 ms", "75.00%", "25.00%"),
    ]
    # One step alone says itself how long it took; of a turn that began further up not all is here.
    assert timeline.grouped(timeline.entries_of(events[:2]), [])[0].timed_steps == []
    (later,) = timeline.grouped(timeline.entries_of(events[2:]), [], before=2, beginnings={DISPATCH: events[0].at})
    assert (later.entries[0].elapsed, later.timed_steps) == ("+1.000 s", [])
    (unknown,) = timeline.grouped(timeline.entries_of(events[2:]), [], before=2)
    assert unknown.entries[0].elapsed == ""


def test_a_turn_that_another_interrupts_is_drawn_whole_where_it_began() -> None:
    events = [
        event(1, "message.received", ONE, seconds=0),
        event(2, "classifier.ran", ONE, seconds=1, classifier="local", duration_ms=1000),
        event(3, "message.received", TWO, seconds=2),
        event(4, "skill.succeeded", ONE, seconds=4, skill="a.b", duration_ms=2000),
    ]
    first, other, rest = timeline.grouped(timeline.entries_of(events), [])
    assert [(step.name, step.start, step.width) for step in first.timed_steps] == [
        ("Classifier local", "0.00%", "25.00%"),
        ("a.b", "50.00%", "50.00%"),
    ]
    assert (first.lasted, other.timed_steps, rest.timed_steps) == ("4 s", [], [])


@given(st.lists(st.tuples(st.floats(0, 9e3), st.floats(0, 9e6)), min_size=2, max_size=9))
def test_no_bar_leaves_its_rail(steps: list[tuple[float, float]]) -> None:
    events = [event(1, "message.received")]
    for number, (second, length_ms) in enumerate(sorted(steps), 2):
        events.append(event(number, "skill.succeeded", seconds=second, skill="a.b", duration_ms=length_ms))
    (group,) = timeline.grouped(timeline.entries_of(events), [])
    for step in group.timed_steps:
        start, width = float(step.start[:-1]), float(step.width[:-1])
        assert 0 <= start <= 100
        assert 0 < width <= 100


def test_a_part_that_begins_inside_a_dispatch_says_so() -> None:
    entries = timeline.entries_of([event(41, "outcome.assigned", ONE), event(42, "message.received", TWO)])
    groups = timeline.grouped(entries, [message(7, Text("hello"), dispatch_id=ONE)], before=40)
    assert [(group.title, group.anchor) for group in groups] == [
        ("Continued: “hello”", "g41"),
        ("Dispatch", f"d-{TWO}"),
    ]


def why(*events: Event) -> dict[str, str]:
    panel = timeline.entries_of(events)[-1].explanation
    assert panel is not None
    return {label: str(sentence.striptags()) for label, sentence in panel.facts}


def ran(*guesses: tuple[str, float]) -> Event:
    candidates = [{"intent": intent, "confidence": confidence} for intent, confidence in guesses]
    return event(
        1,
        "classifier.ran",
        candidates=candidates,
        classifier="local",
        classifier_version="v7",
        duration_ms=0.4,
        threshold=0.5,
    )


def test_the_panel_says_what_decided_and_what_would_have_come_next() -> None:
    chosen = event(2, "intent.assigned", intent="a.b", source="classifier", confidence=0.81)
    assert why(ran(("a.b", 0.81), ("c.d", 0.12)), chosen) == {
        "Decided by": "Classifier local, version v7, in 0.4 ms",
        "Chosen": "a.b with 81 %, 31 points above the threshold of 50 %",
        "Runner-up": "c.d with 12 %, not enough: the contact would have been asked again",
    }
    assert "taken instead" in why(ran(("a.b", 0.81), ("c.d", 0.6)), chosen)["Runner-up"]
    assert "no other guess" in why(ran(("a.b", 0.81)), chosen)["Runner-up"]


def test_the_panel_says_in_whose_place_a_classifier_was_asked() -> None:
    failed = event(
        1, "classifier.failed", classifier="model", classifier_version="m 12", error_class="ModelTimedOutError"
    )
    chosen = event(2, "intent.assigned", intent="a.b", source="classifier", confidence=0.81)
    missed = event(2, "intent.unclear", reason="the best guess is below the threshold", misses=1)
    said = "Classifier model, version m 12, which did not answer: ModelTimedOutError"
    assert why(failed, ran(("a.b", 0.81)), chosen)["Instead of"] == said
    assert why(failed, ran(("a.b", 0.41)), missed)["Instead of"] == said
    assert "Instead of" not in why(failed, ran(("a.b", 0.81)), chosen, ran(("a.b", 0.81)), chosen)


def test_what_a_rule_or_a_choice_decided_needed_no_classifier() -> None:
    tapped = event(2, "intent.assigned", intent="a.b", source="choice", detail="the button “Track”")
    assert why(tapped) == {
        "Decided by": "The contact’s choice: the button “Track”",
        "Classifier": "Not asked: nothing had to be guessed",
    }


def test_what_was_not_understood_is_explained_too() -> None:
    missed = event(2, "intent.unclear", reason="the best guess is below the threshold", misses=1)
    assert why(ran(("a.b", 0.41)), missed)["Best guess"] == "a.b with 41 %, 9 points below the threshold of 50 %"
    assert timeline.entries_of([missed])[0].explanation is None


def test_out_of_scope_is_no_intent_that_reached_the_threshold() -> None:
    missed = event(2, "intent.unclear", reason="nothing that any skill covers (out_of_scope at 0.60)", misses=1)
    panel = timeline.entries_of([ran(("out_of_scope", 0.6), ("a.b", 0.2)), missed])[-1].explanation
    assert panel is not None
    assert panel.title == "Why no intent matched"
    assert panel.short == "out of scope, confidence 60 %"
    told = {label: str(sentence.striptags()) for label, sentence in panel.facts}
    assert told["Best guess"] == "out_of_scope with 60 %: the message belongs to no intent"
    assert told["Best intent"] == "a.b with 20 %, 30 points below the threshold of 50 %"
    chosen = event(2, "intent.assigned", intent="a.b", source="classifier", confidence=0.7)
    assert why(ran(("a.b", 0.7), ("out_of_scope", 0.6)), chosen)["Runner-up"] == (
        "out_of_scope with 60 %, the contact would have been asked again"
    )


def test_a_failed_step_shows_what_had_been_collected() -> None:
    collected = {"order_number": "VF-90514"}
    found = entry(event(1, "flow.step_failed", flow="orders.send_back", reason="no answer", collected=collected))
    assert found.values == (("order_number", "VF-90514"),)
    assert found.detail.striptags().endswith("collected so far:")
    assert "collected" not in entry(event(1, "flow.step_failed", flow="orders.send_back", reason="no answer")).detail


def test_a_payload_is_listed_value_by_value_and_shows_what_would_be_invisible() -> None:
    found = entry(event(1, "planet.aligned", a={"b": [1, {"c": None}]}, d="x\u202ey\x07", e={}))
    assert found.fields == (("a.b 1", "1"), ("a.b 2.c", "–"), ("d", r"x\u202ey\u0007"), ("e", "–"))
    assert "\u202e" not in found.payload
