"""What the policy's parts allow and refuse, and that no session is taken beyond its budgets."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.cli.policy import changed
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import (
    CheckCode,
    Classified,
    ClassifierFailure,
    Classify,
    CodeChecked,
    CodeRefusal,
    CodeRefused,
    CodeSent,
    Commit,
    Committed,
    Effect,
    InvokeSkill,
    Result,
    SendCode,
    SkillReturned,
)
from dragoman.dispatch.routing import opens_at
from dragoman.dispatch.turn import Inputs
from dragoman.dispatch.verification import BUILT_IN, CONFIRM, code_in, on_record, with_code
from dragoman.domain.content import Content, Edit, Location, Media, Text
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.events import BudgetExceeded, Candidate, SkillInvoked
from dragoman.domain.nouns import Awaiting, AwaitingKind, InboundMessage, Level, Policy, Session, SkillSpec
from dragoman.domain.outcomes import Outcome
from dragoman.domain.policies import (
    Budget,
    BusinessHours,
    Confirmation,
    HandoffRules,
    Limits,
    classifier_from_json,
    part_from_json,
    part_to_json,
    routing_from_json,
)
from dragoman.domain.states import TERMINAL, State
from dragoman.store.catalogue.skills import policy_from_json, policy_to_json
from dragoman.store.receiving import contact_rates
from dragoman.store.receiving.limits import SHARDS, RateBucket, rate_buckets
from tests.scenarios.driver import CountingSource, drain
from tests.unit.test_dispatch_core import CONTACT, NOW

HOURS = {
    "hours": {"time_zone": "Europe/Vienna", "weekly": {"monday": ["13:00-17:00", "08:00-12:00"]}},
    "rules": [{"name": "VIP", "business_partners": ["BP-1"], "hours": "open"}],
}


MODEL = {"kind": "model", "base_url": "https://models.example/v1/", "model": "some-model"}


def test_a_policy_survives_being_stored() -> None:
    policy = Policy(
        limits=Limits(contact_per_minute=3),
        budget=Budget(messages=7),
        confirmation=Confirmation(unmatched=True),
        routing=routing_from_json(HOURS),
        classifier=classifier_from_json({**MODEL, "deadline_s": 2, "input_micros_per_million": 150_000}),
    )
    assert policy.classifier.base_url == "https://models.example/v1"
    assert policy_from_json(policy_to_json(policy)) == policy
    assert policy_from_json({}) == Policy()
    spans = policy.routing.hours.weekly["monday"]
    assert spans == ((time(8), time(12)), (time(13), time(17)))


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("limits", {"contact_per_minute": -1}, "whole number"),
        ("limits", {"contact_per_minute": True}, "whole number"),
        ("limits", {"per_hour": 3}, "has no per_hour"),
        ("limits", [], "limits is \\[\\]; use a mapping"),
        ("routing", {"hours": []}, "must be a mapping"),
        ("budget", {"messages": "many"}, "whole number"),
        ("confirmation", {"channel": "pigeon"}, "same_number or other_number"),
        ("confirmation", {"unmatched": 1}, "true or false"),
        ("confirmation", {"attempts": 0}, "at least 1"),
        ("routing", {"hours": {"time_zone": "Mars/Olympus"}}, "not known"),
        ("routing", {"hours": {"weekly": {"monday": ["17:00-08:00"]}}}, "no span"),
        ("routing", {"hours": {"weekly": {"monday": ["08:00-25:00"]}}}, "no span"),
        ("routing", {"hours": {"weekly": {"moonday": []}}}, "has no moonday"),
        ("routing", {"rules": [{"name": "all"}]}, "everybody"),
        ("routing", {"rules": [{"name": "x", "keywords": [""]}]}, "list of texts"),
        ("routing", {"rules": [{"name": "x", "keywords": ["y"], "hours": "sometimes"}]}, "always, open or closed"),
        ("routing", {"rules": [{"keywords": ["y"]}]}, "needs a name"),
        ("handoff", {"target_seconds": -1}, "handoff.target_seconds is -1; use a whole number from 0"),
        ("handoff", {"automatic": 1}, "handoff.automatic is 1; use true or false"),
        ("handoff", {"cap": 0}, "handoff.cap is 0; an agent takes 1 to 1000 sessions"),
        ("handoff", {"idle_seconds": 40_000_000}, "handoff.idle_seconds is 40000000; a year is the longest"),
        ("handoff", {"patience": 1}, "handoff has no patience"),
        ("classifier", {"kind": "oracle"}, "classifier.kind is 'oracle'; use local or model"),
        ("classifier", {"kind": "model", "model": "m"}, "classifier.base_url is ''; use an address such as https"),
        ("classifier", MODEL | {"base_url": "models.example/v1"}, "classifier.base_url is"),
        ("classifier", MODEL | {"base_url": "https://user:secret@models.example/v1"}, "without a user"),
        ("classifier", MODEL | {"base_url": "https://models.example/v1?key=x"}, "without a user, a query"),
        ("classifier", MODEL | {"base_url": "https://models.example/v1 x"}, "classifier.base_url is"),
        ("classifier", MODEL | {"base_url": 7}, "classifier.base_url is 7; use a text"),
        ("classifier", MODEL | {"model": ""}, "classifier.model is ''"),
        ("classifier", MODEL | {"model": "a\r\nb"}, "classifier.model is"),
        ("classifier", MODEL | {"allow_private": 1}, "classifier.allow_private is 1; use true or false"),
        ("classifier", MODEL | {"deadline_s": 0}, "classifier.deadline_s is 0; use a number from 0.1 to 60"),
        ("classifier", MODEL | {"deadline_s": True}, "classifier.deadline_s is True"),
        ("classifier", MODEL | {"deadline_s": float("nan")}, "classifier.deadline_s is nan"),
        ("classifier", MODEL | {"input_micros_per_million": 0.5}, "use a whole number from 0 to 1,000,000,000,000"),
        ("classifier", MODEL | {"most_answer_tokens": 1}, "use a whole number from 16 to 100,000"),
        ("classifier", MODEL | {"phrases": -1}, "classifier.phrases is -1"),
        ("classifier", MODEL | {"api_key": "sk"}, "classifier has no api_key"),
        ("misses", 3, "has no misses"),
        ("threshold", "high", "threshold is 'high'; use a number"),
        ("threshold", float("nan"), "negative or endless"),
        ("misses_before_handoff", 1.5, "use a whole number"),
        ("limits", 7, "use a mapping"),
        ("retry_base_seconds", -0.5, "negative"),
        ("menu", [{"skil": "x"}], "menu cannot be used"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(part: str, value: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        changed(Policy(), {part: value})
    assert "\n" not in str(caught.value)


def test_a_change_leaves_the_rest_as_it_was() -> None:
    before = Policy(misses_before_handoff=5, limits=Limits(tenant_per_second=9))
    after = changed(before, {"limits": {"contact_per_minute": 4}, "retry_base_seconds": 1})
    assert after == dataclasses.replace(
        before, limits=Limits(tenant_per_second=9, contact_per_minute=4), retry_base_seconds=1
    )
    nothings: tuple[object, ...] = ({}, [], None, "x")
    for nothing in nothings:
        with pytest.raises(ConfigurationError):
            changed(before, nothing)


def test_a_number_that_was_written_without_a_fraction_may_get_one_later() -> None:
    whole = changed(Policy(), {"retry_cap_seconds": 8, "threshold": 1})
    stored = policy_from_json(policy_to_json(whole))
    assert changed(stored, {"retry_cap_seconds": 0.5, "threshold": 0.4}) == dataclasses.replace(
        Policy(), retry_cap_seconds=0.5, threshold=0.4
    )


def test_what_an_earlier_version_stored_without_a_fraction_is_read_as_one() -> None:
    stored = policy_from_json({"retry_cap_seconds": 8})
    assert isinstance(stored.retry_cap_seconds, float)
    assert changed(stored, {"retry_cap_seconds": 0.5}).retry_cap_seconds == 0.5


@given(st.sampled_from([Limits, Budget, Confirmation, HandoffRules]))
def test_a_part_reads_back_as_it_was_written(kind: Any) -> None:
    assert part_from_json(kind, part_to_json(kind())) == kind()


@given(st.integers(1, 10_000))
def test_the_shards_of_a_window_have_the_limit_between_them(allowed: int) -> None:
    window = RateBucket(scope="tenant", subject_id=UUID(int=1), start=NOW, allowed=allowed)
    parts = [window.part(shard) for shard in range(window.shards)]
    assert sum(parts) == allowed
    assert min(parts) > 0
    assert len(parts) <= SHARDS


def test_a_limit_of_nought_is_off_and_seconds_are_those_of_the_clock() -> None:
    at = datetime(2026, 3, 2, 9, 0, 59, 999_999, tzinfo=UTC)
    ids = UUID(int=1), UUID(int=2)
    found = rate_buckets(Limits(tenant_per_second=0), *ids, at)
    assert [(w.scope, w.subject_id.int, w.start.second, w.start.microsecond) for w in found] == [
        ("channel_account", 2, 59, 0),
    ]
    assert rate_buckets(Limits(channel_account_per_second=0, tenant_per_second=0), *ids, at) == []


def admitted_of(arrivals: list[float], allowed: int) -> tuple[list[datetime], list[datetime]]:
    """What of the arrivals, in seconds and as they are handled, is admitted and what refused."""
    kept: list[datetime] = []
    admitted, refused = [], []
    for seconds in arrivals:
        at = NOW + timedelta(seconds=seconds)
        if contact_rates.has_room(kept, at, allowed):
            kept = contact_rates.with_one_more(kept, at, allowed)
            admitted.append(at)
        else:
            refused.append(at)
    return admitted, refused


def in_minute_from(begin: datetime, times: list[datetime]) -> int:
    return sum(begin <= time < begin + contact_rates.PERIOD for time in times)


ARRIVALS = st.lists(st.floats(0, 300, allow_nan=False), max_size=120)


@given(ARRIVALS.map(sorted), st.integers(1, 25))
def test_no_minute_has_more_than_a_contacts_limit_wherever_it_begins(arrivals: list[float], allowed: int) -> None:
    admitted, refused = admitted_of(arrivals, allowed)
    assert all(in_minute_from(begin, admitted) <= allowed for begin in admitted)
    for at in refused:
        before = sum(at - contact_rates.PERIOD < time <= at for time in admitted)
        assert before == allowed, "it would have been one too many"


@given(st.lists(st.floats(0, 300, allow_nan=False), max_size=40), st.integers(10, 25))
def test_the_limit_holds_in_whatever_order_the_messages_are_handled(arrivals: list[float], allowed: int) -> None:
    admitted, _ = admitted_of(arrivals, allowed)
    assert all(in_minute_from(begin, admitted) <= allowed for begin in admitted)


def test_a_limit_that_was_lowered_refuses_nobody_for_what_was_long_ago() -> None:
    kept = [NOW + timedelta(seconds=seconds) for seconds in range(20)]
    assert contact_rates.has_room(kept, NOW + timedelta(minutes=5), allowed=2)
    assert not contact_rates.has_room(kept, NOW + timedelta(seconds=30), allowed=2)


VIENNA = routing_from_json(HOURS).hours


@pytest.mark.parametrize(
    ("utc", "opens"),
    [
        ("2026-03-02T06:59", "2026-03-02T08:00"),
        ("2026-03-02T07:00", None),
        ("2026-03-02T11:00", "2026-03-02T13:00"),
        ("2026-03-02T15:59", None),
        ("2026-03-02T16:00", "2026-03-09T08:00"),
        ("2026-03-29T12:00", "2026-03-30T08:00"),
        ("2026-03-30T06:00", None),  # summer time began the night before
        ("2026-03-30T05:59", "2026-03-30T08:00"),
    ],
)
def test_when_somebody_is_back(utc: str, opens: str | None) -> None:
    found = opens_at(VIENNA, datetime.fromisoformat(utc).replace(tzinfo=UTC))
    assert (found and f"{found:%Y-%m-%dT%H:%M}") == opens


def test_without_hours_somebody_is_always_there_and_an_unknown_zone_counts_as_utc() -> None:
    assert opens_at(BusinessHours(), NOW) is None
    assert opens_at(BusinessHours(weekly={"monday": ()}), NOW) is None
    odd = BusinessHours(time_zone="Mars/Olympus", weekly={"monday": ((time(10), time(11)),)})
    assert opens_at(odd, NOW) == NOW.replace(hour=10)


def inputs(said: Content, *, awaiting: Awaiting | None = None, **given: Any) -> Inputs:
    source = CountingSource()
    session = given.pop("session", None) or Session(
        session_id=UUID(int=900),
        thread_id=UUID(int=901),
        contact_id=CONTACT.contact_id,
        state=State.AWAITING_USER if awaiting else State.ACTIVE,
        outcome=Outcome.IN_PROGRESS,
        started_at=NOW,
        last_activity_at=NOW,
        awaiting=awaiting,
    )
    return Inputs(
        dispatch_id=source.new_id(),
        now=NOW,
        source=source,
        contact=CONTACT,
        thread_id=session.thread_id,
        channel="whatsapp",
        message=InboundMessage(
            message_id=source.new_id(), channel_message_id="w", received_at=NOW, channel_at=NOW, content=said
        ),
        session=session,
        **{"policy": Policy(), "registry": {}, **given},
    )


CODE = Awaiting(kind=AwaitingKind.CODE)


@pytest.mark.parametrize(
    ("text", "asked", "open_", "kept", "code"),
    [
        ("123456", True, True, "••••••", "123456"),
        ("it is 123 456.", True, True, "it is ••••••.", "123456"),
        ("12-34-56", True, False, "••••••", "123456"),
        ("12345", True, True, "•••••", None),
        ("1234567", True, True, "•••••••", None),
        ("room 12", True, True, "room 12", None),
        ("123456", False, True, "••••••", "123456"),
        ("it is 123456", False, True, "it is ••••••", None),
        ("order VF-12345 of 2026", False, True, "order VF-12345 of 2026", None),
        ("123456", False, False, "123456", None),
    ],
)
def test_a_code_is_read_where_it_is_expected_and_kept_off_the_record(
    text: str, asked: bool, open_: bool, kept: str, code: str | None
) -> None:
    given = inputs(Text(text), awaiting=CODE if asked else None, code_open=open_)
    assert on_record(given).content == Text(kept)
    assert code_in(given, CODE if asked else None) == code


def test_a_code_in_a_caption_or_an_edit_is_kept_off_the_record_too() -> None:
    assert on_record(inputs(Edit(target="w", body="123456"), code_open=True)).content == Edit(target="w", body="•" * 6)
    photo = Media(media="image", caption="see 123456")
    assert on_record(inputs(photo, code_open=True)).content == Media(media="image", caption="see ••••••")
    place = Location(latitude=1.123456, longitude=2.0)
    assert on_record(inputs(place, code_open=True)).content == place


def test_what_is_sent_has_the_code_where_the_record_has_dots() -> None:
    assert with_code(Text("Your code is ••••••."), "012345") == Text("Your code is 012345.")


def test_the_built_in_skill_has_no_code_that_a_package_would_have_to_bring() -> None:
    assert [spec.name for spec in BUILT_IN] == [CONFIRM]


DEAR = SkillSpec(name="x.dear", label="Dear", version="1", cost_micros=7, keywords=("dear",))
FREE = SkillSpec(name="x.free", label="Free", version="1", keywords=("free",))


@given(
    said=st.lists(st.sampled_from(["dear", "free", "what", "agent"]), max_size=12),
    budget=st.builds(
        Budget,
        messages=st.integers(0, 8),
        cost_micros=st.integers(0, 40),
        classifier_cost_micros=st.integers(0, 5),
    ),
    spent=st.integers(0, 7),
    failed=st.booleans(),
)
def test_no_session_is_taken_beyond_its_budgets(said: list[str], budget: Budget, spent: int, failed: bool) -> None:
    """Skills and classifiers that cost at most their price, also where they fail; whatever is said, in any order."""
    policy = Policy(budget=budget, misses_before_handoff=100)
    session: Session | None = None
    handled = 0

    def answer(effect: Effect) -> Result:
        match effect:
            case Commit():
                return Committed(at=NOW)
            case Classify():
                paid = min(spent, budget.classifier_cost_micros)
                failure = ClassifierFailure(
                    classifier="m",
                    classifier_version="1",
                    error_class="E",
                    message="",
                    duration_ms=1.0,
                    attempts=1,
                    cost_micros=paid,
                )
                return Classified(
                    at=NOW,
                    classifier="c",
                    classifier_version="1",
                    candidates=(Candidate(intent="none", confidence=1.0),),
                    duration_ms=1.0,
                    cost_micros=0 if failed else paid,
                    failure=failure if failed else None,
                )
            case InvokeSkill(skill=skill):
                cost = min(spent, DEAR.cost_micros) if skill == DEAR.name else 0
                return SkillReturned(at=NOW, duration_ms=1.0, replies=(Text("x"),), cost_micros=cost)
        raise AssertionError(effect)

    for text in said:
        if session is not None and session.state is State.WITH_AGENT:
            break
        asked = inputs(Text(text), policy=policy, registry={DEAR.name: DEAR, FREE.name: FREE}, session=session)
        effects, turns = drain(dispatch(asked), answer)
        session = turns[-1].session
        events = [event.payload for turn in turns for event in turn.events]
        exceeded = any(isinstance(event, BudgetExceeded) for event in events)
        if exceeded:
            assert session.outcome is Outcome.BUDGET_EXCEEDED
            assert not any(isinstance(event, SkillInvoked) for event in events)
            assert not effects
        elif text != "agent":
            handled += 1
        assert budget.cost_micros == 0 or session.cost_micros <= budget.cost_micros
        assert budget.messages == 0 or handled <= budget.messages
        assert session.last_activity_at <= NOW + timedelta(seconds=1)
    assert session is None or session.notified in ((), ("budget",))


UNLOCK = SkillSpec(
    name="x.unlock", label="Unlock", version="1", minimum_level=Level.CONTACT_CONFIRMED, keywords=("unlock",)
)
WRITTEN = ("unlock", "yes", "654321", "my code is 654 321", "654", "1", "2", "dunno", "hi", "agent", "thanks")


@given(said=st.lists(st.sampled_from(WRITTEN), max_size=10), data=st.data())
def test_whatever_comes_of_codes_no_digit_of_one_is_on_record_and_only_a_right_one_opens(
    said: list[str], data: st.DataObject
) -> None:
    registry = {UNLOCK.name: UNLOCK, CONFIRM: BUILT_IN[0]}
    contact = dataclasses.replace(CONTACT, level=Level.PHONE_MATCHED)
    session: Session | None = None
    open_ = right = False
    for text in said:
        if session is not None and session.state in TERMINAL:
            session = None

        def answer(effect: Effect) -> Result:
            nonlocal open_, right
            match effect:
                case Commit():
                    return Committed(at=NOW)
                case Classify():
                    return Classified(at=NOW, classifier="c", classifier_version="1", candidates=(), duration_ms=1.0)
                case SendCode() if data.draw(st.booleans()):
                    open_ = True
                    return CodeSent(at=NOW, to="…1", expires_at=NOW + timedelta(minutes=1))
                case CheckCode(code="654321") if data.draw(st.booleans()):
                    right = data.draw(st.booleans())
                    open_ = open_ and not right
                    return CodeChecked(at=NOW, right=right, attempts_left=data.draw(st.integers(1, 4)))
                case SendCode() | CheckCode():
                    open_ = False
                    return CodeRefused(at=NOW, reason=data.draw(st.sampled_from(CodeRefusal)), wait_seconds=9)
                case InvokeSkill():
                    return SkillReturned(at=NOW, duration_ms=1.0, replies=(Text("open"),))
            raise AssertionError(effect)

        asked = inputs(Text(text), registry=registry, session=session, code_open=open_)
        effects, turns = drain(dispatch(dataclasses.replace(asked, contact=contact)), answer)
        session = turns[-1].session
        if any(isinstance(effect, InvokeSkill) for effect in effects):
            assert right
        if right:
            contact = dataclasses.replace(contact, level=Level.CONTACT_CONFIRMED)
        if any(isinstance(effect, CheckCode) for effect in effects):
            record = repr([(turn.events, [item.content for item in turn.transcript]) for turn in turns])
            assert "654" not in record
            assert "654" not in session.last_user_message
