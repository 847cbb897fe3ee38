"""One thread through anything at all: messages, failures, deaths, silence, agents and clocks that step back.

The machine plays the mailbox, the driver and the ledger for the pure core. Between any two commits the session goes
through JSON and back, and what a killed worker had not committed never happened. Whatever the order of events, the
record must stay one that an auditor can read.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dragoman.dispatch.aside import REASONS
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import (
    AnswerChecked,
    AnswerRefused,
    CheckAnswer,
    Classified,
    ClassifierFailure,
    Classify,
    CodeVoided,
    Commit,
    Committed,
    Effect,
    InvokeSkill,
    Pause,
    Result,
    Resumed,
    SkillRaised,
    SkillReturned,
    VoidCode,
)
from dragoman.dispatch.expire import expire
from dragoman.dispatch.orphan import orphaned
from dragoman.dispatch.turn import Busy, Inputs, Refusal, Turn
from dragoman.domain.answer import THIS, AnswerMessage, AnswerPart
from dragoman.domain.as_json import session_from_json, session_to_json
from dragoman.domain.content import (
    Choice,
    CodeReport,
    Content,
    Edit,
    Media,
    Option,
    Options,
    Payment,
    Reaction,
    Revoke,
    SystemNotice,
    Text,
    Unsupported,
    to_json,
)
from dragoman.domain.events import (
    AuditEvent,
    Candidate,
    MessageReceived,
    MessageSent,
    OutcomeAssigned,
    SkillInvoked,
    StateChanged,
    payload_json,
)
from dragoman.domain.nouns import SYSTEM, Contact, InboundMessage, Level, Sender, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.policies import Budget
from dragoman.domain.states import TERMINAL, TRANSITIONS, State
from tests.scenarios.driver import CountingSource
from tests.unit.test_dispatch_core import NOW, POLICY, REGISTRY

CONTACT_ID, THREAD_ID = UUID(int=900), UUID(int=901)

RULED = (
    *("thanks", "bye", "stop", "ok", "👍", "hi", "menu", "agent", "I want a real person", "hola", "danke", "hours"),
    *(
        "where is VF-12345",
        "VF-1",
        "1",
        "2",
        "3",
        "yes",
        "no",
        "broken",
        "other",
        "1234",
        "old.points",
        "",
        " ",
        "\x00",
    ),
)
"""What the dispatcher knows by rule, by number or by label, and what it makes nothing of."""

BUDGET = Budget(messages=7, cost_micros=8, classifier_cost_micros=3)
PRICE = 5
"""Of each skill; no call costs more than its price, or no budget could be kept."""

wishes: st.SearchStrategy[Content] = st.sampled_from([*REGISTRY, "not.there"]).map(
    lambda name: Choice(source="list", id=f"skill:{name}", title=name)
)
contents: st.SearchStrategy[Content] = st.one_of(
    wishes,
    st.sampled_from(RULED).map(Text),
    st.lists(st.sampled_from(RULED), min_size=2, max_size=3).map(" ".join).map(Text),
    st.text(max_size=40).map(Text),
    st.builds(
        Choice,
        source=st.sampled_from(["button", "list", "quick_reply"]),
        id=st.sampled_from(["agent", "answer:broken", "answer:yes", "answer:", "skill:", "x", ""]),
        title=st.text(max_size=5),
    ),
    st.builds(Media, media=st.sampled_from(["image", "voice"]), caption=st.sampled_from([None, "hours", "thanks"])),
    st.sampled_from(
        [
            Reaction(target="w", emoji="👍"),
            Reaction(target="w", emoji=None),
            Revoke(target="w"),
            CodeReport(body="I didn't request a code"),
            Payment(status="captured"),
            Edit(target="w", body="agent"),
            SystemNotice(event="user_changed_number", body="A new number", new_address="1"),
            Unsupported(channel_type="poll", reason="?"),
        ]
    ),
)
steps = st.one_of(st.integers(-3_000, 3_000), st.integers(-20_000, 4_000_000)).map(
    lambda ms: timedelta(milliseconds=ms)
)
"""Clock readings wander, as those of several machines do; now and then nothing happens for an hour."""

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
replies: st.SearchStrategy[AnswerPart] = st.one_of(
    st.sampled_from([Reaction(target=THIS, emoji="👍"), AnswerMessage(content=Text("so"), reply_to=THIS)]),
    st.text(min_size=1, max_size=5).map(Text),
    st.just(Options(body="more?", options=(Option(id="skill:stores.hours", title="Hours"),))),
)


@dataclass
class AcceptedMessage:
    """A message in the mailbox; ``running`` once a turn of its dispatch is on record and the worker is gone."""

    message: InboundMessage
    dispatch_id: UUID
    running: SkillInvoked | None = None
    refused: Refusal | None = None
    busy: Busy | None = None


@dataclass
class Record:
    """What the ledger holds of one session."""

    session: Session
    state: State = State.OPEN
    events: list[AuditEvent] = field(default_factory=list)
    messages: int = 0
    items: int = 0


class Dispatching(RuleBasedStateMachine):
    """One contact's thread, its mailbox and its record."""

    @initialize(level=st.sampled_from(Level), locale=st.sampled_from(["en", "de", "pt-BR", "xx"]))
    def begin(self, level: Level, locale: str) -> None:
        self.source = CountingSource()
        self.now = NOW
        self.contact = Contact(
            contact_id=CONTACT_ID, display_name="Ada Byron", phone="+447700900001", locale=locale, level=level
        )
        self.registry = {name: dataclasses.replace(spec, cost_micros=PRICE) for name, spec in REGISTRY.items()}
        self.policy = dataclasses.replace(POLICY, budget=BUDGET)
        self.mailbox: deque[AcceptedMessage] = deque()
        self.accepted: list[UUID] = []
        self.records: list[Record] = []
        self.whole = True

    # What happens outside.

    @rule(step=steps)
    def the_clock_moves(self, step: timedelta) -> None:
        self.now += step

    @rule(said=contents)
    def a_message_is_accepted(self, said: Content) -> None:
        message = InboundMessage(
            message_id=self.source.new_id(),
            channel_message_id=f"wamid.{self.source.new_id().int}",
            received_at=self.now,
            channel_at=self.now.replace(microsecond=0),
            content=said,
        )
        entry = AcceptedMessage(message=message, dispatch_id=self.source.new_id())
        self.mailbox.append(entry)
        self.accepted.append(entry.dispatch_id)

    @precondition(lambda self: self.mailbox and self.mailbox[-1].running is None)
    @rule(tell=st.booleans(), elsewhere=st.booleans(), limited=st.booleans())
    def the_latest_message_may_not_be_handled(self, tell: bool, elsewhere: bool, limited: bool) -> None:
        entry = self.mailbox[-1]
        if limited:
            entry.refused = Refusal(limit="contact", allowed=20, window_seconds=60.0, notify=tell)
        else:
            entry.busy = Busy(reason="waited 130 s", other_session_id=UUID(int=999) if elsewhere else None)

    @rule(
        name=st.sampled_from(["stores.hours", "old.points"]),
        misses=st.integers(1, 4),
        threshold=st.sampled_from([0.0, 0.5, 1.0]),
    )
    def an_administrator_changes_the_rules(self, name: str, misses: int, threshold: float) -> None:
        self.registry[name] = dataclasses.replace(self.registry[name], retired=not self.registry[name].retired)
        self.policy = dataclasses.replace(self.policy, misses_before_handoff=misses, threshold=threshold)

    # What a worker does.

    @rule(data=st.data(), said=contents)
    def a_message_is_accepted_and_dispatched(self, data: st.DataObject, said: Content) -> None:
        self.a_message_is_accepted(said)
        while self.mailbox:
            self.serve(lambda effect: self.answer(data, effect))

    @precondition(lambda self: self.mailbox)
    @rule(data=st.data(), dies_at=st.integers(1, 7))
    def a_worker_dies_while_it_dispatches(self, data: st.DataObject, dies_at: int) -> None:
        self.serve(lambda effect: self.answer(data, effect), dies_at=dies_at)

    @rule(data=st.data(), said=wishes, dies_at=st.integers(1, 5))
    def a_worker_dies_with_a_skill(self, data: st.DataObject, said: Content, dies_at: int) -> None:
        self.a_message_is_accepted(said)
        self.serve(lambda effect: self.answer(data, effect), dies_at=dies_at)

    @precondition(lambda self: not self.mailbox or self.mailbox[0].running is None)
    @rule(silence=st.integers(0, 2_000).map(lambda seconds: timedelta(seconds=seconds)))
    def the_sweep_looks_for_idle_sessions(self, silence: timedelta) -> None:
        self.now += silence
        session = self.in_progress()
        turn = session and expire(session, self.now, self.policy, self.source)
        if turn:
            self.commit(turn)

    @precondition(lambda self: (session := self.in_progress()) is not None and session.state is State.WITH_AGENT)
    @rule(new=st.sampled_from([State.ACTIVE, State.RESOLVED]))
    def the_agent_is_done(self, new: State) -> None:
        session = self.in_progress()
        assert session is not None
        draft = Draft(session, now=self.now, source=self.source, dispatch_id=None, actor=SYSTEM)
        draft.move(new, "the agent is done")
        draft.change(last_activity_at=draft.now)
        self.commit(draft.cut(final=True))

    def serve(self, answer: Callable[[Effect], Result], *, dies_at: int | None = None) -> None:
        """Handle the mailbox's first message, up to its end or to the worker's."""
        entry = self.mailbox[0]
        if entry.running is not None:
            self.close_orphan(entry, entry.running)
            return
        session = self.in_progress()
        late = session and expire(session, entry.message.received_at, self.policy, self.source)
        if late:
            self.commit(late)
        if self.in_progress() is None and type(entry.message.content) in REASONS:
            # What needs no answer opens nothing: the store finds its session, or ends it.
            self.accepted.remove(self.mailbox.popleft().dispatch_id)
            return
        core = dispatch(self.inputs(entry))
        effects = 0
        try:
            effect = next(core)
            while True:
                effects += 1
                if isinstance(effect, Commit):
                    self.commit(effect.turn)
                    entry.running = next(
                        e.payload for e in reversed(self.records[-1].events) if isinstance(e.payload, SkillInvoked)
                    )
                if effects == dies_at:
                    core.close()
                    return
                effect = core.send(answer(effect))
        except StopIteration as stop:
            self.commit(stop.value)
        self.mailbox.popleft()

    def close_orphan(self, entry: AcceptedMessage, invoked: SkillInvoked) -> None:
        session = self.in_progress()
        assert session is not None, "a dispatch that was begun keeps its session in progress"
        turn = orphaned(
            session,
            now=self.now,
            dispatch_id=entry.dispatch_id,
            source=self.source,
            contact=self.contact,
            skill=invoked.skill,
            attempt=invoked.attempt,
            reason="its worker died",
        )
        self.commit(turn)
        self.mailbox.popleft()

    def inputs(self, entry: AcceptedMessage) -> Inputs:
        session = self.in_progress()
        return Inputs(
            dispatch_id=entry.dispatch_id,
            now=self.now,
            source=self.source,
            policy=self.policy,
            registry=self.registry,
            contact=self.contact,
            thread_id=THREAD_ID,
            channel="whatsapp",
            message=entry.message,
            session=session,
            refused=entry.refused,
            busy=entry.busy,
            previous_session_id=self.records[-1].session.session_id if self.records and session is None else None,
        )

    def answer(self, data: st.DataObject, effect: Effect) -> Result:  # noqa: PLR0911 - one for each effect
        """Any result of the right type; the clock may read anything when it comes."""
        self.now += data.draw(steps)
        match effect:
            case Commit():
                return Committed(at=self.now)
            case Pause(seconds=seconds):
                assert 0 <= seconds <= self.policy.retry_cap_seconds
                return Resumed(at=self.now)
            case Classify():
                intents = st.sampled_from([*REGISTRY, "none", "out_of_scope", "not.there"])
                guesses = st.builds(Candidate, intent=intents, confidence=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
                cost = data.draw(st.integers(0, BUDGET.classifier_cost_micros))
                failed = data.draw(st.integers(0, cost) | st.none())
                return Classified(
                    at=self.now,
                    classifier="any",
                    classifier_version="1",
                    candidates=tuple(data.draw(st.lists(guesses, max_size=3))),
                    duration_ms=1.0,
                    cost_micros=cost - (failed or 0),
                    failure=None
                    if failed is None
                    else ClassifierFailure(
                        classifier="first",
                        classifier_version="1",
                        error_class="Error",
                        message="it failed",
                        duration_ms=1.0,
                        attempts=1,
                        cost_micros=failed,
                    ),
                )
            case InvokeSkill() if data.draw(st.booleans()):
                return SkillReturned(
                    at=self.now,
                    duration_ms=2.0,
                    replies=tuple(data.draw(st.lists(replies, max_size=2))),
                    data=data.draw(st.dictionaries(st.text(max_size=3), plain, max_size=2)),
                    resolve=data.draw(st.booleans()),
                    cost_micros=data.draw(st.integers(0, PRICE)),
                )
            case InvokeSkill():
                return SkillRaised(
                    at=self.now,
                    duration_ms=2.0,
                    error_class="Error",
                    message=data.draw(st.text(max_size=5)),
                    retryable=data.draw(st.booleans()),
                )
            case CheckAnswer(messages=messages) if data.draw(st.booleans()):
                return AnswerChecked(at=self.now, messages=messages)
            case CheckAnswer():
                return AnswerRefused(at=self.now, reason="not now", retryable=data.draw(st.booleans()))
            case VoidCode():
                return CodeVoided(at=self.now)
            case _:
                raise AssertionError(f"this machine has no answer to {effect}")

    # What the ledger does, and what it must never see.

    def in_progress(self) -> Session | None:
        """The thread's session that has not ended, as it was read back."""
        if not self.records or self.records[-1].session.state in TERMINAL:
            return None
        return self.records[-1].session

    def commit(self, turn: Turn) -> None:
        """Write *turn*; each assertion is a promise of the core to the ledger."""
        self.whole = False
        before = self.in_progress()
        if before is None:
            assert turn.session.session_id not in {r.session.session_id for r in self.records}, "a session came back"
            self.records.append(Record(session=turn.session))
        record = self.records[-1]
        assert turn.session.session_id == record.session.session_id
        for event in turn.events:
            self.append(record, event)
        for item in turn.transcript:
            json.dumps(to_json(item.content), allow_nan=False)
            record.messages += type(item.content) not in REASONS
            record.items += 1
        sent = [e.payload.message_id for e in turn.events if isinstance(e.payload, MessageSent)]
        assert sent == [str(i.message_id) for i in turn.transcript if i.sender is not Sender.CONTACT]
        if before is not None:
            for counter in ("message_count", "error_count", "dispatch_count", "cost_micros"):
                assert getattr(turn.session, counter) >= getattr(before, counter), f"{counter} went down"
            assert turn.session.started_at == before.started_at
            assert turn.session.last_activity_at >= before.last_activity_at
        read = session_from_json(json.loads(json.dumps(session_to_json(turn.session), allow_nan=False)))
        assert read == turn.session, "a session must survive being stored"
        assert read.cost_micros <= BUDGET.cost_micros, "the cost budget was exceeded"
        if turn.final and record.events[-1].dispatch_id is not None:
            self.check_admission(record, record.events[-1].dispatch_id)
        record.session = read
        self.whole = True

    def check_admission(self, record: Record, dispatch_id: UUID) -> None:
        """Nothing that costs is done for a message that may not be handled, or beyond the message budget."""
        entry = self.mailbox[0]
        kinds = [e.payload.type for e in record.events if e.dispatch_id == dispatch_id]
        before = sum(
            isinstance(e.payload, OutcomeAssigned) and e.dispatch_id not in (None, dispatch_id) for e in record.events
        )
        if entry.refused or entry.busy or before >= BUDGET.messages:
            assert not {"skill.invoked", "classifier.ran", "flow.started"} & set(kinds), "it was handled all the same"
        quiet = type(entry.message.content) in REASONS or record.state is State.WITH_AGENT
        if entry.refused and entry.running is None and not quiet:
            assert kinds.count("admission.refused") == 1

    def append(self, record: Record, event: AuditEvent) -> None:
        payload = event.payload
        assert json.loads(json.dumps(payload_json(payload), allow_nan=False)) is not None
        if record.events:
            assert event.at >= record.events[-1].at, "time runs backwards on a timeline"
        match payload:
            case StateChanged():
                assert payload.old == record.state, "a step was left out"
                assert (record.state, State(payload.new)) in TRANSITIONS
                record.state = State(payload.new)
            case MessageSent():
                assert record.state not in TERMINAL, "something was said after the end"
            case OutcomeAssigned():
                assert payload.reason, "an outcome without its reason"
        record.events.append(event)

    @invariant()
    def every_session_is_explained(self) -> None:
        for record in getattr(self, "records", ())[-2:]:
            session, events = record.session, record.events
            assert session.state is record.state
            assert (session.resolved_at is not None) == (session.state in TERMINAL)
            assert (session.awaiting is not None) == (session.state is State.AWAITING_USER)
            if session.state in TERMINAL:
                assert session.outcome is not Outcome.IN_PROGRESS, "it ended without an outcome"
            ends = [e.payload for e in events if isinstance(e.payload, OutcomeAssigned)]
            if ends and session.state is not State.PROCESSING:
                assert session.outcome == ends[-1].outcome
            told = [e for e in events if isinstance(e.payload, MessageReceived | MessageSent)]
            assert record.items == len(told)
            assert session.message_count == record.messages
            dispatches = [e for e in events if isinstance(e.payload, OutcomeAssigned) and e.dispatch_id is not None]
            assert session.dispatch_count == len(dispatches)

    @invariant()
    def every_message_ends_in_exactly_one_outcome(self) -> None:
        if not hasattr(self, "accepted"):
            return
        waiting = {entry.dispatch_id for entry in self.mailbox}
        assert len(self.mailbox) < 2 or all(e.running is None for e in list(self.mailbox)[1:])
        ended, received = Counter[UUID | None](), list[UUID | None]()
        for record in self.records:
            for event in record.events:
                if isinstance(event.payload, OutcomeAssigned):
                    ended[event.dispatch_id] += 1
                if isinstance(event.payload, MessageReceived):
                    received.append(event.dispatch_id)
        begun = [d for d in self.accepted if d not in waiting or self.mailbox[0].dispatch_id == d in received]
        assert received == begun, "messages enter the record once, in the order in which they came"
        for dispatch_id in self.accepted:
            assert ended[dispatch_id] == (dispatch_id not in waiting)

    def teardown(self) -> None:
        """Whatever happened: once the workers live, the mailbox drains."""
        # What broke a promise in the middle of a commit has been told, and left nothing to go on with.
        if getattr(self, "whole", False):
            for _ in range(2 * len(self.mailbox)):
                if self.mailbox:
                    self.serve(lambda effect: _no(effect, self.now))
            assert not self.mailbox
            self.every_message_ends_in_exactly_one_outcome()
            self.every_session_is_explained()


def _no(effect: Effect, at: datetime) -> Result:
    """The plainest answer to an effect: nothing is known, nothing works."""
    match effect:
        case Commit():
            return Committed(at=at)
        case Pause():
            return Resumed(at=at)
        case Classify():
            return Classified(at=at, classifier="none", classifier_version="1", candidates=(), duration_ms=0.0)
        case InvokeSkill():
            return SkillRaised(at=at, duration_ms=0.0, error_class="Error", message="no", retryable=False)
        case VoidCode():
            return CodeVoided(at=at)
        case CheckAnswer():
            return AnswerRefused(at=at, reason="no")
    raise AssertionError(f"this machine has no answer to {effect}")


TestDispatching = Dispatching.TestCase
TestDispatching.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
