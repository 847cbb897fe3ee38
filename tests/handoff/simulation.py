"""Plays schedules of contact, bot, agents, deliverers and clock, each from a seed, and checks them after each step.

What decides is the real code: the core of :mod:`dragoman.dispatch`, with ``orphan``, ``expire``, ``handoff`` and
``merge_sessions``, and :func:`dragoman.domain.handoff.is_fenced`. What stands in for the database does one transaction
at a time, and an actor may stop, or die, between any two of its own:

``_dispatcher`` mirrors ``services/dispatching``
    (``handle_inbound``, ``commit_turns``, ``load_work``) and ``services/leasing``. The lease is taken with the first
    message, each turn is checked against its token and its part, a skill runs between two commits, and what comes late
    is not sent.
``_deliverer`` mirrors ``services/outbound/deliver``
    An attempt is counted in one transaction, waits for its moment, is looked at once more, is on the wire, and its
    answer is kept in another transaction. What ``send_gate`` says is chance.
``_hold`` mirrors ``services/handoff/hold_session``
    Politely at first, by force after a second, refused while a skill runs, at once for a release. Others may commit
    between the look at the lease and taking it over, and senders between the lease and the write.
``_take``, ``_write_answer``, ``_note_down``, ``_released``, ``_ended``
    are what ``own_session``, ``write_to_contact`` and ``end_handoff`` do in that transaction.
``_status`` mirrors ``services/outbound/apply_statuses``
    A status settles an attempt that was not answered, or fails late what had been taken.
``_sweep`` mirrors ``services/sweep`` and ``expire_sessions``
    It finds what nobody does after a crash.

The contact has one thread: with two, the one whose session began first has the contact (``admit.busy``), so that no
skill runs in one of them while the other is with an agent. Two contacts that are merged are not played.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.dispatch import handoff
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import (
    Classified,
    Classify,
    Commit,
    Committed,
    InvokeSkill,
    Pause,
    Result,
    Resumed,
    SkillRaised,
    SkillReturned,
)
from dragoman.dispatch.expire import expire
from dragoman.dispatch.handoff import UnsentReplies
from dragoman.dispatch.merge_sessions import end_session
from dragoman.dispatch.orphan import orphaned
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.domain.content import Note, Text
from dragoman.domain.errors import ChangeRefusedError, StaleTokenError
from dragoman.domain.events import (
    HandoffClaimed,
    HandoffEnded,
    HandoffUnassigned,
    MessageReceived,
    MessageStatus,
    Payload,
    SkillInvoked,
    StateChanged,
)
from dragoman.domain.handoff import OVERTAKEN, Agent, Handoff, Taking, is_fenced
from dragoman.domain.nouns import (
    SYSTEM,
    Actor,
    ActorKind,
    Contact,
    InboundMessage,
    Level,
    Policy,
    Sender,
    Session,
    SkillSpec,
)
from dragoman.domain.states import TERMINAL, TRANSITIONS, State
from dragoman.ledger import append

BEGINNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MOVES = 200
"""What happens in a schedule before everything runs dry."""

INBOUND_S, OUTBOUND_S, SETTLE_S = 15.0, 20.0, 15.0
PATIENCE_S, LONG_PATIENCE_S = 1.0, 5.0
MAX_ATTEMPTS = 8
OPEN = ("PENDING", "RETRYING")

POLICY = Policy(misses_before_handoff=2)
REGISTRY = {
    name: SkillSpec(name=name, label=name, version="1", keywords=(name.removeprefix("test."),), max_attempts=2)
    for name in ("test.answer", "test.slow", "test.flaky")
}
SAYS = ("answer", "slow", "flaky", "human please", "human please", "hm", "bye")
AGENTS = tuple(Agent(agent_id=UUID(int=n), name=name) for n, name in enumerate(("Ana", "Bo", "Cem"), 1))
ADA = Actor(ActorKind.ADMINISTRATOR, "Ada")
CONTACT = Contact(contact_id=UUID(int=9), display_name="Uwe", phone="+4312345", locale="en", level=Level.UNVERIFIED)
THREAD_ID = UUID(int=10)

Steps = Generator[None]
LeaseValues = tuple[int, "PlayedActor | None", float]


class WrongError(Exception):
    """Something that must never be true was."""


@dataclass(slots=True)
class PlayedLease:
    """A row of the leases: ``in_hand`` while a transaction that is not over has it locked."""

    token: int = 0
    owner: PlayedActor | None = None
    deadline: float = 0.0
    in_hand: PlayedActor | None = None

    @property
    def values(self) -> LeaseValues:
        """What a rollback sets back."""
        return self.token, self.owner, self.deadline


@dataclass(slots=True)
class PlayedMail:
    """A row of the mailbox."""

    message: InboundMessage
    dispatch_id: UUID
    progress: str = "waiting"
    parts: int = 0
    session_id: UUID | None = None
    skill: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A message and its session, as they were when it was taken up."""

    mail: PlayedMail
    running: bool
    parts: int
    session: Session | None


@dataclass(slots=True)
class PlayedEntry:
    """A row of the outbox, and what became of it on the wire; ``written`` is the step that wrote it."""

    number: int
    session_id: UUID
    message_id: UUID
    by_agent: bool
    fence: int
    written: int
    due: float
    begun: int = 0
    status: str = "PENDING"
    attempts: int = 0
    parked: bool = False
    answers: dict[int, str] = field(default_factory=dict)
    wired: list[tuple[int, bool]] = field(default_factory=list)
    taken_known: bool = False
    failed_status: bool = False
    for_good: bool = False


@dataclass(slots=True)
class PlayedActor:
    """An actor between two of its steps; ``stalled`` for one whose lease nobody extends."""

    name: str
    steps: Steps
    stalled: bool = False
    done: bool = False


@dataclass(slots=True)
class Write:
    """What somebody asked for, and what they were told."""

    agent: Agent
    key: int
    confirmed: int = 0


class ScheduleSource:
    """Ids in order; chance is the schedule's own."""

    def __init__(self) -> None:
        self.last = 1000

    def new_id(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)

    def jitter(self) -> float:
        return 0.5


class Schedule:
    """One schedule: everything that happens follows from the seed."""

    def __init__(self, seed: int, moves: int = MOVES) -> None:
        self.seed, self.moves = seed, moves
        self.chance = random.Random(seed)
        self.source = ScheduleSource()
        self.seconds = 0.0
        self.step = 0
        self.log: list[tuple[int, float, str]] = []
        self.running: list[PlayedActor] = []
        self.jobs: dict[str, float] = {}
        self.inbound, self.outbound = PlayedLease(), PlayedLease()
        self.mailbox: list[PlayedMail] = []
        self.sessions: dict[UUID, Session] = {}
        self.current: UUID | None = None
        self.human: dict[UUID, Handoff] = {}
        self.outbox: list[PlayedEntry] = []
        self.by_message: dict[UUID, PlayedEntry] = {}
        self.requests: set[int] = set()
        self.writes: list[Write] = []
        self.statuses: list[tuple[PlayedEntry, int]] = []
        self.is_stopped = False
        self.is_calm = False
        # What the invariants go by.
        self.owner: dict[UUID, UUID | None] = {}
        self.claims: list[tuple[int, HandoffClaimed]] = []
        self.received: list[UUID] = []
        self.finals: Counter[UUID] = Counter()
        self.told: dict[UUID, str] = {}
        self.answers_of: dict[int, list[PlayedEntry]] = {}

    # ---------------------------------------------------------------- the schedule

    def play(self) -> None:
        """Play it to its end. Raises WrongError."""
        for _ in range(self.moves):
            self._move()
        self._run_dry()
        self._check_the_end()

    def _move(self) -> None:
        self.step += 1
        chance = self.chance.random()
        if chance < 0.60 and self._go_on():
            return
        if chance < 0.75 and self._start_job():
            return
        if chance < 0.79:
            self._contact_writes()
        elif chance < 0.87:
            self._person_acts()
        elif chance < 0.93:
            self._time_passes(self.chance.choice((0.3, 0.6, 2.0, 5.0, 10.0)))
        elif chance < 0.945:
            self._time_passes(self.chance.choice((25.0, 70.0, 700.0, 1900.0)))
        elif chance < 0.955:
            self._kill()
        elif chance < 0.97:
            self._sweep()
        elif chance < 0.995:
            self._status()
        else:
            self.is_stopped = not self.is_stopped
            self._note("the account is stopped" if self.is_stopped else "the account is resumed")

    def _note(self, what: str) -> None:
        self.log.append((self.step, self.seconds, what))

    def _go_on(self) -> bool:
        if not self.running:
            return False
        at = int(self.chance.random() * len(self.running))
        self._step_of(self.running[at])
        return True

    def _step_of(self, one: PlayedActor) -> None:
        try:
            next(one.steps)
        except StopIteration:
            one.done = True
            self.running.remove(one)

    def _start(self, name: str, make: Callable[[PlayedActor], Steps]) -> PlayedActor:
        one = PlayedActor(name, iter(()), stalled=self.chance.random() < 0.15)  # type: ignore[arg-type]
        one.steps = make(one)
        self.running.append(one)
        return one

    def _start_job(self) -> bool:
        due = [name for name, at in self.jobs.items() if at <= self.seconds]
        if not due:
            return False
        name = self.chance.choice(due)
        del self.jobs[name]
        self._start(name, self._dispatcher if name == "inbound" else self._deliverer)
        return True

    def _wake(self, job: str, after: float = 0.0) -> None:
        at = self.seconds + after
        self.jobs[job] = min(at, self.jobs.get(job, at))

    def _time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        self._note(f"{seconds:g} s pass")
        holder = self.inbound.owner
        if holder is not None and not holder.done and not holder.stalled:
            self.inbound.deadline = self.seconds + INBOUND_S

    def _kill(self) -> None:
        if self.running:
            one = self.chance.choice(self.running)
            self._note(f"{one.name} is killed")
            self.running.remove(one)
            one.done = True
            # Its transaction, if one is open, is rolled back.
            one.steps.close()

    def _sweep(self) -> None:
        self._note("the sweep looks")
        if any(mail.progress != "done" for mail in self.mailbox) and self._is_free(self.inbound):
            self._wake("inbound")
        if any(e.status in OPEN and not e.parked and e.due <= self.seconds for e in self.outbox) and self._is_free(
            self.outbound
        ):
            self._wake("deliver")
        if not self.is_stopped:
            for entry in self.outbox:
                if entry.parked and entry.status in OPEN:
                    self._wake("deliver")
        if self.inbound.in_hand is None and self._is_free(self.inbound):
            # Under the lease, which is given back in the same transaction.
            self.inbound.token, self.inbound.owner = self.inbound.token + 1, None
            session = self._session()
            turn = session and expire(session, self.now, POLICY, self.source)
            if turn:
                self._write_turn(turn)

    # ---------------------------------------------------------------- leases and clock

    @property
    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.seconds)

    def _is_free(self, lease: PlayedLease) -> bool:
        return lease.owner is None or lease.deadline < self.seconds

    def _acquire(self, lease: PlayedLease, me: PlayedActor, seconds: float) -> int | None:
        if not self._is_free(lease):
            return None
        lease.token, lease.owner, lease.deadline = lease.token + 1, me, self.seconds + seconds
        return lease.token

    @staticmethod
    def verify(lease: PlayedLease, token: int) -> None:
        """Raise StaleTokenError unless *token* is still the lease's."""
        if lease.token != token or lease.owner is None:
            raise StaleTokenError(f"{lease.token}, not {token}")

    def _release(self, lease: PlayedLease, token: int) -> None:
        if lease.token == token:
            lease.owner = None

    # ---------------------------------------------------------------- the contact

    def _contact_writes(self, text: str | None = None) -> None:
        said = text or self.chance.choice(SAYS)
        message = InboundMessage(
            message_id=self.source.new_id(),
            channel_message_id=f"wamid.{self.source.last}",
            received_at=self.now,
            channel_at=self.now,
            content=Text(said),
        )
        self._arrive(message)
        if self.chance.random() < 0.2:
            self._arrive(message)
        self._note(f"the contact writes {said!r} ({message.message_id.int})")

    def _arrive(self, message: InboundMessage) -> None:
        """A delivery of the webhook; one that was here before is known by the channel's id."""
        if all(mail.message.channel_message_id != message.channel_message_id for mail in self.mailbox):
            self.mailbox.append(PlayedMail(message, self.source.new_id()))
        self._wake("inbound")

    # ---------------------------------------------------------------- the dispatcher

    def _dispatcher(self, me: PlayedActor) -> Steps:
        while self.inbound.in_hand is not None:
            yield
        token = self._acquire(self.inbound, me, INBOUND_S)
        if token is None:
            return
        work = self._load_next(token)
        try:
            while work is not None:
                yield
                work = yield from self._dispatch_one(work, token)
        except StaleTokenError:
            self._note("a dispatcher finds that it has lost its lease")

    def _load_next(self, token: int) -> Work | None:
        """The contact's next message, or the lease goes back; in the transaction of whoever calls."""
        waiting = [mail for mail in self.mailbox if mail.progress != "done"]
        if not waiting:
            self._release(self.inbound, token)
            return None
        mail = next((mail for mail in waiting if mail.progress == "running"), waiting[0])
        running, session = mail.progress == "running", self._session()
        if session is not None and not running:
            turn = expire(session, mail.message.received_at, POLICY, self.source)
            if turn is not None:
                self._write_turn(turn)
                session = None
        return Work(mail, running, mail.parts, session)

    def _dispatch_one(self, work: Work, token: int) -> Generator[None, None, Work | None]:
        mail, session = work.mail, work.session
        if work.running:
            return (yield from self._close_orphan(work, token))
        core = dispatch(self._inputs(mail, session))
        part, late = 1, False
        result: Result | None = None
        try:
            while True:
                try:
                    effect = next(core) if result is None else core.send(result)
                except StopIteration as stop:
                    return (yield from self._committing(mail, stop.value, part, token))
                if isinstance(effect, Commit):
                    yield from self._committing(mail, effect.turn, part, token)
                    part, late, result = part + 1, False, Committed(at=self.now)
                    continue
                yield
                result = self._outside(effect)
                late = late or isinstance(result, SkillReturned | SkillRaised)
        except StaleTokenError:
            self._note(
                f"what was found out for {mail.message.message_id.int} comes late" if late else "nothing is late"
            )
            raise

    def _inputs(self, mail: PlayedMail, session: Session | None) -> Inputs:
        return Inputs(
            dispatch_id=mail.dispatch_id,
            now=self.now,
            source=self.source,
            policy=POLICY,
            registry=REGISTRY,
            contact=CONTACT,
            thread_id=THREAD_ID,
            channel="whatsapp",
            message=mail.message,
            session=session,
        )

    def _outside(self, effect: Any) -> Result:
        """What skills, classifier and pauses answer."""
        if isinstance(effect, InvokeSkill):
            if effect.skill == "test.flaky" and self.chance.random() < 0.6:
                return SkillRaised(at=self.now, duration_ms=1.0, error_class="E", message="no", retryable=True)
            return SkillReturned(at=self.now, duration_ms=1.0, replies=(Text("done"), Text("and more")))
        if isinstance(effect, Pause):
            return Resumed(at=self.now)
        if isinstance(effect, Classify):
            return Classified(at=self.now, classifier="none", classifier_version="1", candidates=(), duration_ms=1.0)
        raise TypeError(effect)

    def _committing(self, mail: PlayedMail, turn: Turn, part: int, token: int) -> Generator[None, None, Work | None]:
        while self.inbound.in_hand is not None:
            yield
        found = self._commit(mail, turn, part, token)
        if self.chance.random() < 0.03:
            # The answer to the commit was lost: it is tried again.
            yield
            while self.inbound.in_hand is not None:
                yield
            found = self._commit(mail, turn, part, token)
        return found

    def _commit(self, mail: PlayedMail, turn: Turn, part: int, token: int) -> Work | None:
        self.verify(self.inbound, token)
        self._write_commit(mail, turn, part)
        return self._load_next(token) if turn.final else None

    def _write_commit(self, mail: PlayedMail, turn: Turn, part: int) -> None:
        if mail.parts != part - 1:
            return
        mail.parts, mail.session_id = part, turn.session.session_id
        mail.progress = "done" if turn.final else "running"
        invoked = next((e.payload for e in turn.events if isinstance(e.payload, SkillInvoked)), None)
        mail.skill, mail.attempt = (invoked.skill, invoked.attempt) if invoked else (None, None)
        self._write_turn(turn)
        self.finals[mail.message.message_id] += turn.final
        human = turn.session.handoff
        for item in turn.transcript:
            if item.sender is not Sender.CONTACT:
                self._put_in_outbox(turn, item.message_id, by_agent=False, fence=human.fence if human else 0)
                self._wake("deliver")

    def _close_orphan(self, work: Work, token: int) -> Generator[None, None, Work | None]:
        mail, session = work.mail, work.session
        if session is None or session.session_id != mail.session_id:
            # Its session was ended by somebody else meanwhile.
            while self.inbound.in_hand is not None:
                yield
            self.verify(self.inbound, token)
            mail.progress = "done"
            self.finals[mail.message.message_id] += 1
            return self._load_next(token)
        return (yield from self._committing(mail, self._orphaned(mail, session), work.parts + 1, token))

    def _orphaned(self, mail: PlayedMail, session: Session, by: Actor = SYSTEM) -> Turn:
        self._note(f"the dispatch of {mail.message.message_id.int} is orphaned")
        return orphaned(
            session,
            now=self.now,
            dispatch_id=mail.dispatch_id,
            source=self.source,
            contact=CONTACT,
            skill=mail.skill,
            attempt=mail.attempt,
            reason="lost",
            by=by,
        )

    # ---------------------------------------------------------------- the ledger

    def _session(self, session_id: UUID | None = None) -> Session | None:
        """The session, or the one in progress, with its human part as its own row has it."""
        if session_id is None:
            session_id = self.current
        if session_id is None:
            return None
        session, human = self.sessions[session_id], self.human.get(session_id)
        return session if session.handoff is human else replace(session, handoff=human)

    def _write_turn(self, turn: Turn) -> None:
        session = turn.session
        session_id, known = session.session_id, self.sessions.get(session.session_id)
        if known is None and self.current is not None:
            raise WrongError("a thread has two sessions in progress")
        state = known.state if known else State.OPEN
        for event in turn.events:
            if isinstance(event.payload, StateChanged):
                if (state, State(event.payload.new)) not in TRANSITIONS:
                    raise WrongError(f"illegal path {state} > {event.payload.new}")
                state = State(event.payload.new)
        if state is not session.state:
            raise WrongError(f"events lead to {state}, the row says {session.state}")
        self.sessions[session_id] = session
        self.current = None if session.state in TERMINAL else session_id
        human = self.human_of(turn, self.human.get(session_id))
        if human is not None:
            self.human[session_id] = human
        for event in turn.events:
            self._tell(session_id, event.payload)
        self._check_owner(session_id)

    def human_of(self, turn: Turn, before: Handoff | None) -> Handoff | None:
        """The row of the session's human part after the turn, as ``ledger/append`` writes it."""
        return turn.session.handoff if append._handoff_rows(turn) else before

    def _tell(self, session_id: UUID, payload: Payload) -> None:
        """Put an event on the timeline, as far as an invariant goes by it."""
        if isinstance(payload, MessageStatus):
            self.told[UUID(payload.message_id)] = payload.status
        elif isinstance(payload, MessageReceived):
            self.received.append(UUID(payload.message_id))
        elif isinstance(payload, StateChanged):
            if payload.new == State.WITH_AGENT:
                self.owner[session_id] = None
            elif payload.old == State.WITH_AGENT and session_id in self.owner:
                raise WrongError("a human part was left without an event that ends it")
        elif isinstance(payload, HandoffClaimed):
            self._part(session_id)
            self.owner[session_id] = UUID(payload.agent_id)
            self.claims.append((self.step, payload))
            self._note(f"{payload.agent} has the session ({payload.how}, fence {payload.fence})")
        elif isinstance(payload, HandoffUnassigned):
            self._part(session_id)
            self.owner[session_id] = None
        elif isinstance(payload, HandoffEnded):
            self._part(session_id)
            del self.owner[session_id]
            self._note(f"the human part is over ({payload.how})")

    def _part(self, session_id: UUID) -> None:
        if session_id not in self.owner:
            raise WrongError("an event of a human part that does not go on")

    def _check_owner(self, session_id: UUID) -> None:
        session, row = self.sessions[session_id], self.human.get(session_id)
        if (session.state is State.WITH_AGENT) != (session_id in self.owner):
            raise WrongError("the state and the events differ on whether people have the session")
        told = self.owner.get(session_id)
        owner = row.owner if row else None
        if (owner.agent_id if owner else None) != told:
            raise WrongError(f"the row says {owner}, the events {told}")

    # ---------------------------------------------------------------- people

    def _hold(
        self, me: PlayedActor, session_id: UUID, act: Callable[[Session], None], *, at_once: bool = False
    ) -> Steps:
        held = yield from self._take_lease(me, at_once=at_once)
        if held is None:
            return
        before, fenced_off = held
        lease, token, committed = self.inbound, self.inbound.token, False
        try:
            session = self._session(session_id)
            if session is None:
                raise WrongError("the session is gone")
            # Senders may commit between two statements of this transaction.
            yield
            act(session)
            committed = True
        except ChangeRefusedError as refused:
            self._note(f"{me.name}: {refused}")
        finally:
            lease.in_hand = None
            if committed:
                self._release(lease, token)
                if fenced_off:
                    self._wake("inbound")
            else:
                lease.token, lease.owner, lease.deadline = before
        # What was done is told to whoever asked, if they are still there.
        yield

    def _take_lease(self, me: PlayedActor, *, at_once: bool) -> Generator[None, None, tuple[LeaseValues, bool] | None]:
        """Take the contact's lease and keep its row in hand: what it was before, and whether somebody lost it so."""
        begun, lease = self.seconds, self.inbound
        while True:
            while lease.in_hand is not None:
                yield
            before, waited = lease.values, self.seconds - begun
            if not at_once and self._acquire(lease, me, INBOUND_S) is not None:
                lease.in_hand = me
                return before, False
            is_running = any(mail.progress == "running" for mail in self.mailbox)
            if not at_once and is_running and waited >= LONG_PATIENCE_S:
                self._note(f"{me.name}: the bot is busy with the contact")
                return None
            # Whoever has the row in hand commits before it is taken over.
            yield
            if at_once or (waited >= PATIENCE_S and not is_running):
                while lease.in_hand is not None:
                    yield
                before = lease.values
                lease.token, lease.owner, lease.deadline = lease.token + 1, me, self.seconds + INBOUND_S
                lease.in_hand = me
                self._note(f"{me.name} takes the lease over")
                return before, True

    def _person_acts(self) -> None:
        if not self.sessions:
            self._contact_writes("human please")
            return
        session_id = self.current or next(reversed(self.sessions))
        chance = self.chance.random()
        agent = self.chance.choice(AGENTS)
        owner = self.owner.get(session_id)
        if owner is not None and self.chance.random() < 0.7:
            agent = next(one for one in AGENTS if one.agent_id == owner)
        if chance < 0.28:
            self._person(f"{agent.name} claims", session_id, lambda s: self._take(s, agent, Taking.CLAIMED))
        elif chance < 0.36:
            self._person(f"{agent.name} takes over", session_id, lambda s: self._take(s, agent, Taking.TAKEN_OVER))
        elif chance < 0.42:
            how = self.chance.choice((Taking.ASSIGNED, Taking.AUTOMATIC))
            self._person(f"{agent.name} is given it", session_id, lambda s: self._take(s, agent, how))
        elif chance < 0.62:
            self._answer(session_id, agent)
        elif chance < 0.66:
            self._person(f"{agent.name} notes", session_id, lambda s: self._note_down(s, agent))
        elif chance < 0.69:
            self._person(
                f"{agent.name} gives it back",
                session_id,
                lambda s: self._write_turn(handoff.unassign(s, agent, self.now, self.source, reason="busy")),
            )
        elif chance < 0.71:
            self._person(
                f"{agent.name} is away",
                session_id,
                lambda s: self._may_write(
                    handoff.take_from_absent(s, agent.agent_id, self.now, self.source, reason="away")
                ),
            )
        else:
            self._end(session_id, agent, self.chance.random())

    def _end(self, session_id: UUID, agent: Agent, chance: float) -> None:
        """One of the ways in which a human part, or a session, ends; or it is noted that nobody took it."""
        if chance < 0.25:
            self._person(
                f"{agent.name} returns it",
                session_id,
                lambda s: self._ends(handoff.return_to_bot(s, agent, self.now, self.source, note="")),
            )
        elif chance < 0.45:
            self._person(
                f"{agent.name} resolves it",
                session_id,
                lambda s: self._ends(handoff.resolve(s, agent, self.now, self.source, reason="solved")),
            )
        elif chance < 0.70:
            self._person("release", session_id, self._released, at_once=True)
        elif chance < 0.80:
            self._person("end", session_id, self._ended, at_once=True)
        elif chance < 0.90:
            self._person(
                "time-out",
                session_id,
                lambda s: self._may_write(handoff.time_out(s, self.now, self.source, idle_seconds=600)),
            )
        else:
            self._person(
                "unattended",
                session_id,
                lambda s: self._may_write(handoff.note_unattended(s, self.now, self.source, allowed_seconds=5)),
            )

    def _person(
        self, name: str, session_id: UUID, act: Callable[[Session], None], *, at_once: bool = False
    ) -> PlayedActor:
        self._note(f"{name} begins")
        return self._start(name, lambda me: self._hold(me, session_id, act, at_once=at_once))

    def _may_write(self, turn: Turn | None) -> None:
        if turn is not None:
            self._ends(turn)

    def _ends(self, turn: Turn) -> None:
        self._write_turn(turn)
        self._wake("inbound")

    def _take(self, session: Session, agent: Agent, how: Taking) -> None:
        stopped: list[PlayedEntry] = []
        under_way: list[PlayedEntry] = []
        for entry in self.open_before(session):
            (stopped if not entry.attempts or entry.attempts in entry.answers else under_way).append(entry)
        own = [e.message_id for e in stopped if e.session_id == session.session_id]
        unsent = UnsentReplies(
            stopped=own,
            of_earlier_sessions=[e.message_id for e in stopped if e.session_id != session.session_id],
            under_way=[e.message_id for e in under_way],
        )
        by = Actor(ActorKind.AGENT, agent.name)
        turn = handoff.take(session, agent, self.now, self.source, by=by, how=how, unsent=unsent)
        if turn is None:
            return
        self._write_turn(turn)
        for entry in stopped:
            where = "of an earlier session " if entry.session_id != session.session_id else ""
            self._note(f"message {entry.number} of the bot {where}is stopped")
            self._tell_status(entry, "skipped", "SKIPPED")
        for entry in stopped + under_way:
            if entry.session_id != session.session_id:
                entry.fence = OVERTAKEN
        self._wake("deliver")

    def open_before(self, session: Session) -> list[PlayedEntry]:  # noqa: ARG002 - for one who looks at it alone
        """What the bot has still to send, as ``own_session._unsent`` finds it: of earlier sessions, too."""
        return [e for e in self.outbox if not e.by_agent and e.status in OPEN]

    def _answer(self, session_id: UUID, agent: Agent) -> None:
        """An answer with a key of its own; some click twice, and who was not told that it is done clicks again."""
        again = [one for one in self.writes if not one.confirmed and one.agent is agent]
        if again and self.chance.random() < 0.5:
            write = self.chance.choice(again)
        else:
            write = Write(agent, len(self.writes))
            self.writes.append(write)
        for _ in range(2 if self.chance.random() < 0.3 else 1):
            name = f"{agent.name} answers ({write.key})"
            self._note(f"{name} begins")
            self._start(name, lambda me: self._answering(me, session_id, write))

    def _answering(self, me: PlayedActor, session_id: UUID, write: Write) -> Steps:
        done: list[bool] = []
        yield from self._hold(me, session_id, lambda s: done.append(self._write_answer(s, write)))
        write.confirmed += bool(done)

    def is_new(self, key: int) -> bool:
        """Note the key of a request; whether it was not known before."""
        new = key not in self.requests
        self.requests.add(key)
        return new

    def _write_answer(self, session: Session, write: Write) -> bool:
        had = write.key in self.requests
        if not self.is_new(write.key):
            self._note(f"answer {write.key} is done already")
            return False
        try:
            turn = handoff.answer(
                session, write.agent, Text("Hello"), self.now, self.source, channel="whatsapp", window_until=None
            )
        except ChangeRefusedError:
            if not had:
                # With the transaction.
                self.requests.discard(write.key)
            raise
        self._write_turn(turn)
        human = turn.session.handoff
        for item in turn.transcript:
            if not isinstance(item.content, Note):
                entry = self._put_in_outbox(turn, item.message_id, by_agent=True, fence=human.fence if human else 0)
                self.answers_of.setdefault(write.key, []).append(entry)
        self._wake("deliver")
        return True

    def _note_down(self, session: Session, agent: Agent) -> None:
        turn = handoff.add_note(session, agent, "a note", self.now, self.source)
        self._write_turn(turn)

    def _released(self, session: Session) -> None:
        if session.state is State.PROCESSING:
            self._give_up_dispatch(session)
        elif session.state is State.WITH_AGENT:
            self._write_turn(handoff.release(session, ADA, self.now, self.source, reason="stuck"))
        else:
            raise ChangeRefusedError("Neither an agent nor the bot is working on this conversation.")
        self._wake("inbound")

    def _ended(self, session: Session) -> None:
        if session.state in TERMINAL:
            raise ChangeRefusedError("This conversation has already ended.")
        if session.state is State.PROCESSING:
            session = self._give_up_dispatch(session)
        self._ends(end_session(session, ADA, "ended", self.now, self.source))

    def _give_up_dispatch(self, session: Session) -> Session:
        mail = next((mail for mail in self.mailbox if mail.progress == "running"), None)
        if mail is None or mail.session_id != session.session_id:
            raise ChangeRefusedError("The dispatch has just ended. Look again.")
        turn = self._orphaned(mail, session, ADA)
        self._write_commit(mail, turn, mail.parts + 1)
        return turn.session

    # ---------------------------------------------------------------- the outbox

    def _put_in_outbox(self, turn: Turn, message_id: UUID, *, by_agent: bool, fence: int) -> PlayedEntry:
        entry = PlayedEntry(
            number=len(self.outbox),
            session_id=turn.session.session_id,
            message_id=message_id,
            by_agent=by_agent,
            fence=fence,
            written=self.step,
            due=self.seconds,
        )
        self.outbox.append(entry)
        self.by_message[message_id] = entry
        return entry

    def is_fenced(self, entry: PlayedEntry) -> bool:
        """Whether the entry must not go out any more, as ``OutboxEntry.is_fenced`` has it."""
        human = self.human.get(entry.session_id)
        return is_fenced(entry.fence, human.fence if human else 0, by_bot=not entry.by_agent)

    def _deliverer(self, me: PlayedActor) -> Steps:
        token = self._acquire(self.outbound, me, OUTBOUND_S)
        if token is None:
            return
        entry = self._begin_next(token)
        while entry is not None:
            number, begun = entry.attempts, self.seconds
            answer = yield from self._send(entry, number, begun)
            # The answer is on its way.
            yield
            try:
                self.verify(self.outbound, token)
            except StaleTokenError:
                self._note("a sender finds that it has lost its lease")
                return
            self.outbound.deadline = self.seconds + OUTBOUND_S
            self._finish(entry, number, answer)
            entry = self._begin_next(token)

    def _begin_next(self, token: int) -> PlayedEntry | None:
        """Count the next attempt, or give the lease back; ``deliver._next``."""
        while True:
            entry = next((e for e in self.outbox if e.status in OPEN and not (e.parked and self.is_stopped)), None)
            if entry is None:
                break
            if self.is_fenced(entry):
                self._note_unanswered(entry)
                self._tell_status(entry, "skipped", "SKIPPED")
                continue
            if entry.due > self.seconds:
                self._wake("deliver", entry.due - self.seconds)
                break
            self._note_unanswered(entry)
            if self.is_stopped:
                entry.parked = True
                continue
            if not self.is_calm and self.chance.random() < 0.06:
                # The pace has no moment for it yet.
                entry.due = self.seconds + self.chance.choice((0.5, 6.0))
                self._wake("deliver", entry.due - self.seconds)
                break
            entry.attempts, entry.begun = entry.attempts + 1, self.step
            entry.due = self.seconds + SETTLE_S * entry.attempts
            entry.parked = False
            self._check_attempt(entry)
            return entry
        self._release(self.outbound, token)
        return None

    def _note_unanswered(self, entry: PlayedEntry) -> None:
        if entry.attempts and entry.attempts not in entry.answers:
            entry.answers[entry.attempts] = "unanswered"

    def _send(self, entry: PlayedEntry, number: int, begun: float) -> Generator[None, None, str]:
        if self.chance.random() < 0.35:
            yield
            if self.is_fenced(entry) or entry.status not in OPEN:
                self._note(f"message {entry.number} is withheld")
                return "withheld"
            self._check_not_claimed(entry, "passed the second look")
        yield
        if self.seconds - begun > OUTBOUND_S / 2:
            # Nobody may wait so long between the count and the wire.
            return "withheld"
        return self._wire(entry, number)

    def _wire(self, entry: PlayedEntry, number: int) -> str:
        """What the channel does with it."""
        for step, claim in self.claims:
            if entry.by_agent or step <= entry.written or str(entry.message_id) in claim.under_way:
                continue
            # It may be that a status had settled an earlier attempt of it, so that nothing of it was to be sent.
            if step <= entry.begun or entry.status in OPEN:
                raise WrongError(f"message {entry.number} of the bot is sent, and the claim does not say so")
        chance = 0.0 if self.is_calm else self.chance.random()
        answer = (
            "accepted" if chance < 0.66 else "lost" if chance < 0.76 else "refused" if chance < 0.85
            else "refused for good" if chance < 0.90 else "not reached"
        )  # fmt: skip
        taken = answer in ("accepted", "lost")
        entry.wired.append((number, taken))
        if taken and (answer == "lost" or self.chance.random() < 0.2):
            self.statuses.append((entry, number))
        self._note(f"message {entry.number} is on the wire, attempt {number}: {answer}")
        return answer

    def _finish(self, entry: PlayedEntry, number: int, answer: str) -> None:
        """Keep the answer and move the entry on; ``deliver._finish``."""
        if answer != "withheld":
            entry.answers[number] = "unanswered" if answer in ("lost", "not reached") else answer
        if answer == "accepted":
            entry.taken_known = True
            self._tell_status(entry, "sent", "SENT")
        elif self.is_fenced(entry):
            if entry.status in OPEN:
                self._tell_status(entry, "skipped", "SKIPPED")
        elif entry.status not in OPEN:
            # A status has settled it meanwhile.
            return
        elif answer == "withheld":
            entry.status, entry.due = "RETRYING", self.seconds
        elif answer == "refused for good" or (answer == "refused" and number >= MAX_ATTEMPTS):
            entry.for_good = True
            self._tell_status(entry, "failed", "FAILED")
        elif answer == "refused":
            self._retry(entry, min(2.0**number, 300.0) * 0.75)
        else:
            self._retry(entry, SETTLE_S * number if answer == "lost" else 0.75)

    def _retry(self, entry: PlayedEntry, pause: float) -> None:
        """Another attempt follows; ``outbox.mark_retrying``, which knows what came back after it had been settled."""
        if entry.status not in OPEN and self.is_overtaken(entry):
            entry.fence = OVERTAKEN
        entry.status, entry.due = "RETRYING", self.seconds + pause

    def is_overtaken(self, entry: PlayedEntry) -> bool:
        """Whether a person has had a later session of the contact's than the one that the bot wrote the message in."""
        own = self.sessions[entry.session_id]
        return not entry.by_agent and any(
            human.fence > 0 and (self.sessions[session_id].started_at, session_id) > (own.started_at, own.session_id)
            for session_id, human in self.human.items()
        )

    def _tell_status(self, entry: PlayedEntry, status: str, row: str) -> None:
        entry.status = row
        self.told[entry.message_id] = status

    def _status(self) -> None:
        """The channel tells of an attempt that it took: it has arrived, or could not be brought after all."""
        if not self.statuses:
            return
        entry, number = self.statuses.pop(int(self.chance.random() * len(self.statuses)))
        failed = not self.is_calm and self.chance.random() < 0.3
        self._note(f"a status of message {entry.number}, attempt {number}: {'failed' if failed else 'delivered'}")
        if not failed:
            if entry.failed_status:
                return
            entry.taken_known, entry.parked = True, False
            self._tell_status(entry, "delivered", "SENT")
        elif entry.status != "FAILED":
            entry.taken_known = False
            if self.chance.random() < 0.5:
                entry.failed_status = entry.for_good = True
                self._tell_status(entry, "failed", "FAILED")
            else:
                self._retry(entry, 5.0)
        self._wake("deliver")

    # ---------------------------------------------------------------- what must be true

    def _check_attempt(self, entry: PlayedEntry) -> None:
        self._check_not_claimed(entry, "begins an attempt")
        if entry.taken_known:
            raise WrongError(f"message {entry.number} is sent again, and the channel had said that it took it")

    def _check_not_claimed(self, entry: PlayedEntry, what: str) -> None:
        if not entry.by_agent and any(step > entry.written for step, _ in self.claims):
            raise WrongError(f"message {entry.number} of the bot {what} after a person had taken over")

    def _run_dry(self) -> None:
        """Nothing breaks any more: everything goes to its end, and the bot answers once more."""
        self.is_calm, self.is_stopped = True, False
        self._quiet_down()
        if self.current is not None and self.sessions[self.current].state is State.WITH_AGENT:
            self._person("the last release", self.current, self._released, at_once=True)
        self._quiet_down()
        self._contact_writes("answer")
        self._quiet_down()
        last = self.outbox[-1]
        if last.by_agent or last.status != "SENT":
            raise WrongError("the bot does not answer after the end of the human part")

    def _quiet_down(self) -> None:
        for _ in range(400):
            self.step += 1
            while self.running or self._start_job():
                for one in list(self.running):
                    self._step_of(one)
                # Whoever waits for a moment is given it.
                self.seconds += 0.2
                holder = self.inbound.owner
                if holder is not None and not holder.done:
                    self.inbound.deadline = self.seconds + INBOUND_S
                self.step += 1
            while self.statuses:
                self._status()
            if all(m.progress == "done" for m in self.mailbox) and all(e.status not in OPEN for e in self.outbox):
                return
            self.seconds += 10.0
            self._sweep()
        raise WrongError("it does not come to rest")

    def _check_the_end(self) -> None:
        order = [mail.message.message_id for mail in self.mailbox]
        if self.received != order:
            raise WrongError("the contact's messages are not in the transcript once each, in order")
        if any(self.finals[message_id] != 1 for message_id in order):
            raise WrongError("a message was not dispatched exactly once")
        for entry in self.outbox:
            self._check_entry(entry)
        for write in self.writes:
            entries = self.answers_of.get(write.key, [])
            if len(entries) > 1 or (write.confirmed and not entries):
                raise WrongError(
                    f"answer {write.key} was confirmed {write.confirmed} times and is there {len(entries)} times"
                )
        if not self._is_free(self.inbound) and self.inbound.owner is not None and not self.inbound.owner.done:
            raise WrongError("a lease was not given back")

    def _check_entry(self, entry: PlayedEntry) -> None:
        taken = sum(was for _, was in entry.wired)
        if entry.by_agent and entry.status != "SENT" and not entry.for_good:
            raise WrongError(f"the answer {entry.number} is lost: {entry.status}")
        if entry.status == "SENT" and not taken:
            raise WrongError(f"message {entry.number} is said to be sent, and never was")
        if entry.status != "SENT" and self.told.get(entry.message_id) not in ("skipped", "failed"):
            raise WrongError(f"message {entry.number} was not sent, and the timeline does not say so")


def play(seed: int, schedule: type[Schedule] = Schedule) -> Schedule:
    """Play the schedule of this seed. Raises WrongError, with its steps as a note."""
    played = schedule(seed)
    try:
        played.play()
    except Exception as error:
        steps = "\n".join(f"{step:4} {seconds:8.1f} s  {what}" for step, seconds, what in played.log)
        error.add_note(f"seed {seed}: again with python -m tests.handoff --seed {seed}\n{steps}")
        raise
    return played
