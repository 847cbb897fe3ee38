"""The core under a driver that answers with anything at all: what must hold whatever happens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.dispatch.aside import REASONS
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import (
    AnswerChecked,
    AnswerRefused,
    CheckAnswer,
    CheckCode,
    Classified,
    Classify,
    CodeRefusal,
    CodeRefused,
    CodeVoided,
    Commit,
    Committed,
    Effect,
    InvokeSkill,
    Pause,
    Result,
    Resumed,
    SendCode,
    SkillRaised,
    SkillReturned,
    VoidCode,
)
from dragoman.dispatch.expire import expire
from dragoman.dispatch.orphan import orphaned
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.domain.answer import THIS, AnswerMessage
from dragoman.domain.content import Choice, Content, Location, Media, Options, Reaction, Revoke, Text, Unsupported
from dragoman.domain.events import (
    AuditEvent,
    Candidate,
    MessageReceived,
    MessageSent,
    OutcomeAssigned,
    SkillInvoked,
    SkillRetryScheduled,
    StateChanged,
    payload_json,
)
from dragoman.domain.nouns import (
    Contact,
    InboundMessage,
    Level,
    MenuItem,
    Parameter,
    ParameterKind,
    Policy,
    Sender,
    Session,
    SkillSpec,
)
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import TERMINAL, State, check_transition
from tests.scenarios.driver import CountingSource, drain

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)

REGISTRY = {
    spec.name: spec
    for spec in (
        SkillSpec(
            name="orders.status",
            label="Status",
            version="1",
            parameters=(Parameter(name="number", kind=ParameterKind.PATTERN, pattern=r"VF-\d+"),),
        ),
        SkillSpec(
            name="orders.return",
            label="Return",
            version="1",
            max_attempts=2,
            parameters=(
                Parameter(name="why", kind=ParameterKind.CHOICE, choices=("broken", "other")),
                Parameter(name="sure", kind=ParameterKind.BOOLEAN),
            ),
        ),
        SkillSpec(name="stores.hours", label="Hours", version="1", keywords=("hours",)),
        SkillSpec(name="finance.balance", label="Balance", version="1", minimum_level=Level.PHONE_MATCHED),
        SkillSpec(name="old.points", label="Points", version="1", retired=True),
        SkillSpec(
            name="finance.unlock",
            label="Unlock",
            version="1",
            parameters=(Parameter(name="pin", kind=ParameterKind.TEXT, secret=True),),
        ),
    )
}
POLICY = Policy(menu=tuple(MenuItem(skill=name, titles={"en": name}) for name in ("stores.hours", "old.points")))
CONTACT = Contact(
    contact_id=UUID(int=900), display_name="Ada Byron", phone="+447700900001", locale="en", level=Level.UNVERIFIED
)


def inputs(content: Content, session: Session | None = None, source: CountingSource | None = None) -> Inputs:
    source = source or CountingSource()
    return Inputs(
        dispatch_id=source.new_id(),
        now=session.last_activity_at + timedelta(seconds=5) if session else NOW,
        source=source,
        policy=POLICY,
        registry=REGISTRY,
        contact=CONTACT,
        thread_id=UUID(int=901),
        channel="whatsapp",
        message=InboundMessage(
            message_id=source.new_id(),
            channel_message_id="wamid.1",
            received_at=NOW,
            channel_at=NOW,
            content=content,
        ),
        session=session,
    )


said = st.one_of(
    st.sampled_from(
        [
            *("where is VF-12345", "hours", "thanks", "stop", "agent", "hi", "1", "2", "3", "yes", "broken", "other"),
            *("ok", "VF-1", "old.points", "", " ", "👍"),
        ]
    ).map(Text),
    st.text(max_size=30).map(Text),
    st.builds(
        Choice,
        source=st.just("list"),
        id=st.sampled_from(["agent", "answer:broken", "answer:yes", "answer:", "x", *("skill:" + n for n in REGISTRY)]),
        title=st.text(max_size=5),
    ),
    st.just(Reaction(target="w", emoji="👍")),
    st.just(Revoke(target="w")),
    st.just(Media(media="image")),
    st.builds(Media, media=st.just("image"), caption=st.just("hours")),
    st.just(Unsupported(channel_type="poll", reason="?")),
)
readings = st.floats(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds))
candidates = st.lists(
    st.builds(
        Candidate,
        intent=st.sampled_from([*REGISTRY, "none", "out_of_scope", "not.there"]),
        confidence=st.floats(0, 1),
    ),
    max_size=3,
).map(tuple)


ELSE: st.SearchStrategy[Any] = st.sampled_from(
    [
        Location(latitude=1.0, longitude=2.0),
        Location(latitude=100.0, longitude=2.0),
        Reaction(target=THIS, emoji="👍"),
        AnswerMessage(content=Text("as I said"), reply_to=THIS),
        Media(media="image", media_id="7"),
    ]
)


def results(data: st.DataObject) -> Callable[[Effect], Result]:
    """A driver that answers each effect with any result of the right type."""

    def answer(effect: Effect) -> Result:  # noqa: PLR0911 - one for each effect
        match effect:
            case Commit():
                return Committed(at=data.draw(readings))
            case Pause(seconds=seconds):
                assert 0 <= seconds <= POLICY.retry_cap_seconds
                return Resumed(at=data.draw(readings))
            case Classify():
                return Classified(
                    at=data.draw(readings),
                    classifier="any",
                    classifier_version="1",
                    candidates=data.draw(candidates),
                    duration_ms=1.0,
                    cost_micros=3,
                )
            case CheckAnswer(messages=messages):
                at = data.draw(readings)
                refused = AnswerRefused(
                    at=at, reason=data.draw(st.text(max_size=5)), retryable=data.draw(st.booleans())
                )
                return refused if data.draw(st.booleans()) else AnswerChecked(at=at, messages=messages)
            case SendCode() | CheckCode() | VoidCode():
                at, why = data.draw(readings), data.draw(st.sampled_from(CodeRefusal))
                return CodeVoided(at=at) if isinstance(effect, VoidCode) else CodeRefused(at=at, reason=why)
            case InvokeSkill():
                if data.draw(st.booleans()):
                    replies = data.draw(st.lists(st.text(min_size=1, max_size=5).map(Text) | ELSE, max_size=2))
                    return SkillReturned(
                        at=data.draw(readings),
                        duration_ms=2.0,
                        replies=tuple(replies),
                        data=data.draw(st.dictionaries(st.text(max_size=3), st.integers() | st.text(), max_size=2)),
                        resolve=data.draw(st.booleans()),
                        cost_micros=7,
                    )
                return SkillRaised(
                    at=data.draw(readings),
                    duration_ms=2.0,
                    error_class="Error",
                    message=data.draw(st.text(max_size=5)),
                    retryable=data.draw(st.booleans()),
                )

    return answer


def events_of(turns: list[Turn]) -> list[AuditEvent]:
    return [event for turn in turns for event in turn.events]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(said, min_size=1, max_size=6))
def test_whatever_happens_the_record_is_whole(data: st.DataObject, messages: list[Content]) -> None:
    source = CountingSource()
    session: Session | None = None
    for content in messages:
        before = session
        if session is None and type(content) in REASONS:
            # What needs no answer opens nothing.
            continue
        effects, turns = drain(dispatch(inputs(content, session, source)), results(data))
        check_turns(effects, turns)
        check_states(before, turns)
        check_counts(before, turns)
        session = turns[-1].session
        if session.state in TERMINAL:
            session = None


def check_turns(effects: list[Effect], turns: list[Turn]) -> None:
    """One final turn, last; every other one goes before an effect; a skill is on record before it is called."""
    assert [turn.final for turn in turns] == [False] * (len(turns) - 1) + [True]
    for commit, follower in pairwise(effects):
        if isinstance(commit, Commit):
            assert isinstance(follower, InvokeSkill | Pause)
        if isinstance(follower, InvokeSkill):
            assert isinstance(commit, Commit)
            payload = commit.turn.events[-1].payload
            assert isinstance(payload, SkillInvoked)
            assert (payload.skill, payload.attempt) == (follower.skill, follower.attempt)
            assert commit.turn.session.state is State.PROCESSING
    if effects:
        assert not isinstance(effects[-1], Commit)
    events = events_of(turns)
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert sum(isinstance(e.payload, OutcomeAssigned) for e in events) == 1
    assert isinstance(events[-1].payload, OutcomeAssigned)
    assert events[-1].payload.reason
    for event in events:
        json.dumps(payload_json(event.payload), allow_nan=False)


def check_states(before: Session | None, turns: list[Turn]) -> None:
    """Only legal steps, unbroken from the session before; nothing is sent after the end."""
    state = before.state if before else State.OPEN
    for turn in turns:
        for event in turn.events:
            if isinstance(event.payload, StateChanged):
                assert event.payload.old == state
                check_transition(state, State(event.payload.new))
                state = State(event.payload.new)
            if isinstance(event.payload, MessageSent):
                assert state not in TERMINAL
        assert turn.session.state is state
    last = turns[-1].session
    assert last.state not in (State.OPEN, State.PROCESSING)
    assert (last.awaiting is not None) == (last.state is State.AWAITING_USER)
    assert (last.resolved_at is not None) == (last.state in TERMINAL)
    outcome = turns[-1].events[-1].payload
    assert isinstance(outcome, OutcomeAssigned)
    assert last.outcome == outcome.outcome


def check_counts(before: Session | None, turns: list[Turn]) -> None:
    """The figures on the session's row are those that counting the record gives."""
    session = turns[-1].session
    items = [item for turn in turns for item in turn.transcript]
    events = events_of(turns)
    assert session.dispatch_count == (before.dispatch_count if before else 0) + 1
    said = [item for item in items if type(item.content) not in REASONS]
    assert session.message_count == (before.message_count if before else 0) + len(said)
    failed = sum(event.payload.type == "skill.failed" for event in events)
    assert session.error_count == (before.error_count if before else 0) + failed
    told = [e.payload.message_id for e in events if isinstance(e.payload, MessageReceived | MessageSent)]
    assert told == [str(item.message_id) for item in items]
    assert [item.sender for item in items].count(Sender.CONTACT) == 1
    assert len(session.last_user_message) <= 200
    if before and before.state is State.WITH_AGENT:
        assert session.state is State.WITH_AGENT
        assert session.outcome is before.outcome
        assert len(items) == 1


def scripted(*answers: Result) -> Callable[[Effect], Result]:
    """Commits and pauses as they come, everything else from *answers*."""
    left = list(answers)

    def answer(effect: Effect) -> Result:
        if isinstance(effect, Commit):
            return Committed(at=NOW)
        if isinstance(effect, Pause):
            return Resumed(at=NOW)
        return left.pop(0)

    return answer


def classified(intent: str, confidence: float = 0.9) -> Classified:
    candidate = Candidate(intent=intent, confidence=confidence)
    return Classified(
        at=NOW, classifier="c", classifier_version="1", candidates=(candidate,), duration_ms=1.0, cost_micros=5
    )


def raised(message: str = "no", *, retryable: bool = True) -> SkillRaised:
    return SkillRaised(at=NOW, duration_ms=1.0, error_class="Error", message=message, retryable=retryable)


def returned(**more: Any) -> SkillReturned:
    return SkillReturned(**{"at": NOW, "duration_ms": 1.0, "replies": (Text("here"),), **more})


def session_after(*contents: Content) -> Session:
    session = None
    for content in contents:
        _, turns = drain(dispatch(inputs(content, session)), scripted(classified("orders.status")))
        session = turns[-1].session
    assert session is not None
    return session


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (Text("gibberish"), Committed(at=NOW)),
        (Text("hours"), Resumed(at=NOW)),
        (Text("gibberish"), None),
    ],
)
def test_a_driver_that_answers_with_the_wrong_type_is_told(content: Content, wrong: Any) -> None:
    with pytest.raises(TypeError, match="a driver answers"):
        drain(dispatch(inputs(content)), lambda _: wrong)


@pytest.mark.parametrize("state", [State.RESOLVED, State.EXPIRED, State.PROCESSING])
def test_a_session_that_cannot_take_a_message_is_refused(state: State) -> None:
    session = dataclasses.replace(session_after(Text("hi")), state=state)
    with pytest.raises(ValueError, match=state.value):
        next(dispatch(inputs(Text("hello"), session)))


def test_confidence_at_the_threshold_is_enough_and_just_below_is_not() -> None:
    _, turns = drain(dispatch(inputs(Text("x y z"))), scripted(classified("orders.status", POLICY.threshold)))
    assert turns[-1].session.intent == "orders.status"
    _, turns = drain(dispatch(inputs(Text("x y z"))), scripted(classified("orders.status", 0.4999)))
    assert turns[-1].session.intent is None
    assert turns[-1].session.misses == 1


def test_attempts_are_bounded_and_share_one_idempotency_key() -> None:
    effects, turns = drain(dispatch(inputs(Text("hours"))), scripted(*[raised()] * 3))
    calls = [effect for effect in effects if isinstance(effect, InvokeSkill)]
    assert [call.attempt for call in calls] == [1, 2, 3]
    assert len({call.idempotency_key for call in calls}) == 1
    assert turns[-1].session.outcome is Outcome.SKILL_ERROR
    delays = [e.payload.delay_seconds for e in events_of(turns) if isinstance(e.payload, SkillRetryScheduled)]
    assert delays == [0.375, 0.75]  # base 0.5 s, doubled, times 0.75 for a jitter of a half
    assert [e.seconds for e in effects if isinstance(e, Pause)] == delays


def test_a_pause_never_passes_the_cap() -> None:
    spec = dataclasses.replace(REGISTRY["stores.hours"], max_attempts=80)
    many = dataclasses.replace(inputs(Text("hours")), registry={spec.name: spec})
    effects, _ = drain(dispatch(many), scripted(*[raised()] * 80))
    pauses = [effect.seconds for effect in effects if isinstance(effect, Pause)]
    assert len(pauses) == 79
    assert max(pauses) == POLICY.retry_cap_seconds * 0.75


def test_secrets_stay_off_the_record() -> None:
    waiting = session_after(Choice(source="list", id="skill:finance.unlock", title="Unlock"))
    effects, turns = drain(
        dispatch(inputs(Text("hunter2"), waiting)),
        scripted(raised("hunter2 is wrong"), raised("hunter2!", retryable=False)),
    )
    calls = [effect for effect in effects if isinstance(effect, InvokeSkill)]
    assert all(call.parameters == {"pin": "hunter2"} for call in calls)
    record = json.dumps([payload_json(e.payload) for e in events_of(turns)])
    assert "hunter2" not in record
    assert "[redacted]" in record
    assert "hunter2" not in turns[-1].session.outcome_reason


def test_an_answer_of_a_skill_that_went_away_meanwhile_says_so() -> None:
    waiting = session_after(Text("my order"))
    assert waiting.awaiting is not None
    gone = dataclasses.replace(inputs(Text("VF-12345"), waiting), registry={})
    _, turns = drain(dispatch(gone), scripted())
    assert turns[-1].session.outcome is Outcome.SKILL_RETIRED


def test_a_number_means_what_was_offered_even_if_the_menu_has_changed() -> None:
    waiting = session_after(Text("hi"))
    policy = dataclasses.replace(POLICY, menu=(MenuItem(skill="orders.status", titles={}), *POLICY.menu))
    changed = dataclasses.replace(inputs(Text("1"), waiting), policy=policy)
    _, turns = drain(dispatch(changed), scripted(returned()))
    assert turns[-1].session.intent == "stores.hours"


def test_the_menu_offers_nothing_retired_and_always_a_person() -> None:
    _, turns = drain(dispatch(inputs(Text("hello"))), scripted())
    menu = turns[-1].transcript[-1].content
    assert isinstance(menu, Options)
    assert [option.id for option in menu.options] == ["skill:stores.hours", "agent"]


def test_a_skill_without_a_reply_still_answers_the_contact() -> None:
    _, turns = drain(dispatch(inputs(Text("hours"))), scripted(returned(replies=())))
    assert turns[-1].transcript[-1].content == Text("Done.")


def test_two_keywords_at_once_are_left_to_the_classifier() -> None:
    other = SkillSpec(name="other.thing", label="x", version="1", keywords=("open",))
    both = dataclasses.replace(inputs(Text("open hours")), registry={**REGISTRY, other.name: other})
    effects, _ = drain(dispatch(both), scripted(classified("none")))
    assert isinstance(effects[0], Classify)


def test_expiry_depends_on_the_state() -> None:
    active = dataclasses.replace(session_after(Text("hi")), state=State.ACTIVE, awaiting=None)
    source, at = CountingSource(), active.last_activity_at
    limit = timedelta(seconds=POLICY.idle_active_seconds)
    assert expire(active, at + limit - timedelta(seconds=1), POLICY, source) is None
    turn = expire(active, at + limit, POLICY, source)
    assert turn is not None
    assert turn.session.state is State.EXPIRED
    assert turn.session.outcome is Outcome.NONE
    assert turn.session.last_activity_at == at
    for state in (State.OPEN, State.PROCESSING, State.WITH_AGENT, State.RESOLVED, State.EXPIRED):
        silent = dataclasses.replace(active, state=state)
        assert expire(silent, at + timedelta(days=9), POLICY, source) is None


@pytest.mark.parametrize("state", list(State))
def test_an_orphan_is_recorded_in_any_state_and_answered_only_where_the_bot_has_the_word(state: State) -> None:
    session = dataclasses.replace(session_after(Text("hi")), state=state)
    turn = orphaned(
        session,
        now=NOW,
        dispatch_id=UUID(int=5),
        source=CountingSource(),
        contact=CONTACT,
        skill="orders.status",
        attempt=2,
        reason="the lease ran out",
    )
    assert turn.session.outcome is Outcome.DISPATCH_ORPHANED
    assert turn.session.error_count == session.error_count + 1
    assert turn.session.dispatch_count == session.dispatch_count + 1
    assert turn.session.state is (State.ACTIVE if state is State.PROCESSING else state)
    assert bool(turn.transcript) == (state not in (*TERMINAL, State.WITH_AGENT))
    assert [event.payload.type for event in turn.events].count("outcome.assigned") == 1
