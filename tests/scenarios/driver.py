"""Plays a scenario: YAML in, the whole timeline out.

A scenario names a contact, the skills of ``registry.yaml`` beside it (or its own), and what happens when:

    about: what this scenario shows
    contact: {name: Ana Lopes, phone: "+351910000001", locale: pt, level: PHONE_MATCHED}
    retired: [loyalty.points]
    policy: {misses_before_handoff: 2}
    flows: [orders.send_back]       # of `definitions/`
    default_menu: main              # of `definitions/`; without it the policy's topics are offered
    codes: true                     # the tenant sends one-time codes
    begin: 2026-03-06T16:50:00Z     # instead of a Monday morning
    steps:
      - at: 0                       # seconds since the scenario's beginning
        text: Onde está meu pedido?  # or `content:`, as domain.content writes it
        effects:                    # what the outside answers, in order
          - classified: {orders.status: 0.91}
          - {classifier_failed: {class: ModelTimedOutError, message: too slow, attempts: 2}, classified: {}}
          - returned: {replies: [...], data: {...}, resolve: true}
          - raised: {class: ConnectionError, message: refused, retryable: true}
          - code_sent: {to: "…233"} # also `seconds` until it expires, and `elsewhere`
          - code_checked: {right: false, left: 4}
          - code_voided: true
          - code_refused: {why: too_soon, wait_seconds: 20}
          - dies: true              # the worker is gone; nothing after the latest commit happened
        refused: {limit: contact, allowed: 20, window_seconds: 60, tell: true}
        busy: {reason: waited 130 s, elsewhere: false}
        written: {en: 0.97}         # the language that the text is surely in
      - {at: 70, text: Where is it?, revision: {by: wamid.9, content: {kind: text, body: Where is VF-1?}}}
      - {at: 75, text: "[card number redacted]", redacted: {card: 1}}
      - {at: 80, text: Hi all, group: 120363@g.us}   # or attached_to: the id of the message that it came with
      - {at: 60, orphaned: {skill: orders.status, attempt: 1, reason: the worker died}}
      - {at: 70, text: Where is it?, given_up: "6 attempts failed"}   # it cannot be dispatched
      - {at: 90, retried_by: Ada, effects: []}   # what was given up is dispatched again
      - {at: 900, expire: true}
      - {at: 95, claim: Ana}            # people, by name: also `take_over`, `assign`, `answer: {by: Ana, text: Hello}`,
      - {at: 99, resolve: {by: Ana, reason: solved}}   # `note`, `return`, `resolve`, `release`, `unassign`
      - {at: 999, unattended: 300}      # nobody took it for so many seconds; `time_out`: nobody wrote for so many

Every committed session goes through JSON and back before it is used again, so that whatever the core needs to
go on is known to survive being stored. Ids count up, the clock follows the script, and chance is always a half.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from dragoman.dispatch import handoff
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
from dragoman.dispatch.handoff import UnsentReplies
from dragoman.dispatch.orphan import given_up, orphaned
from dragoman.dispatch.turn import Busy, Inputs, Refusal, Turn
from dragoman.dispatch.verification import BUILT_IN
from dragoman.domain import content
from dragoman.domain.as_json import session_from_json, session_to_json, spec_from_json
from dragoman.domain.content import Content, Text
from dragoman.domain.events import Candidate, LanguageRecognized, payload_json
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flows import Flows
from dragoman.domain.handoff import Agent, Taking
from dragoman.domain.menus import Menu, menu_from_json
from dragoman.domain.nouns import (
    Actor,
    ActorKind,
    BusinessPartner,
    Contact,
    InboundMessage,
    Level,
    MessageContext,
    Policy,
    Registry,
    Revision,
    Session,
    WrittenLanguage,
)
from dragoman.domain.states import TERMINAL
from dragoman.store.catalogue.skills import policy_from_json

HERE = Path(__file__).parent
BEGINNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CLASSIFY_MS = 1.5
SKILL_MS = 20.0


class CountingSource:
    """Ids 1, 2, 3, and a coin that always lands on its edge."""

    def __init__(self) -> None:
        self._last = 0

    def new_id(self) -> UUID:
        self._last += 1
        return UUID(int=self._last)

    def jitter(self) -> float:
        return 0.5


class WorkerDiedError(Exception):
    """The script says that the worker is gone at this effect."""


@dataclass
class Scenario:
    """One scenario while it is played."""

    script: dict[str, Any]
    source: CountingSource = field(default_factory=CountingSource)
    beginning: datetime = BEGINNING
    now: datetime = BEGINNING
    code_open: bool = False
    silent_until: datetime | None = None
    session: Session | None = None
    previous_session_id: UUID | None = None
    turns: list[Turn] = field(default_factory=list)
    gave_up: InboundMessage | None = None

    def play(self) -> dict[str, Any]:
        """The golden form: what each step wrote, and the session after it."""
        self.contact = _contact(self.script.get("contact", {}), self.source)
        self.beginning = self.now = self.script.get("begin", BEGINNING)
        self.registry = _registry(self.script)
        self.policy = _policy(self.script.get("policy", {}))
        self.flows = _flows(self.script)
        self.menu = _menu(self.script)
        self.thread_id = self.source.new_id()
        return {
            "about": self.script["about"],
            "steps": [self._step(step) for step in self.script["steps"]],
        }

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        self.now = max(self.now, self.beginning + timedelta(seconds=step["at"]))
        self.turns = []
        if ended := step.get("confirmation_ended"):
            self.contact = dataclasses.replace(
                self.contact,
                level=Level.PHONE_MATCHED,
                confirmation_ended_at=self.beginning + timedelta(seconds=ended["at"]),
                confirmation_dropped=ended.get("reason", ""),
            )
        if step.get("expire"):
            assert self.session is not None
            turn = expire(self.session, self.now, self.policy, self.source)
            if turn is not None:
                self._commit(turn)
        elif "orphaned" in step:
            assert self.session is not None
            self._commit(
                orphaned(
                    self.session,
                    now=self.now,
                    dispatch_id=self.source.new_id(),
                    source=self.source,
                    contact=self.contact,
                    **step["orphaned"],
                )
            )
        elif (verb := next((name for name in PEOPLE if name in step), None)) is not None:
            assert self.session is not None
            turn = PEOPLE[verb](self, self.session, step[verb])
            if turn is not None:
                self._commit(turn)
        elif "given_up" in step:
            inputs = self._inputs(_content(step), step)
            self.gave_up = inputs.message
            self._commit(given_up(inputs, step["given_up"]))
        else:
            self._message(step)
        return self._written(step)

    def _message(self, step: dict[str, Any]) -> None:
        answers = iter(step.get("effects", ()))
        core = dispatch(self._retried(step) if "retried_by" in step else self._inputs(_content(step), step))
        try:
            effect = next(core)
            while True:
                effect = core.send(self._answer(effect, answers))
        except StopIteration as stop:
            self._commit(stop.value)
        except WorkerDiedError:
            pass
        left = list(answers)
        assert not left, f"the core did not ask for {left}"

    def _retried(self, step: dict[str, Any]) -> Inputs:
        assert self.gave_up is not None
        assert self.session is not None
        inputs = self._inputs(self.gave_up.content, step)
        return dataclasses.replace(inputs, message=self.gave_up, retried_by=step["retried_by"], recorded=True)

    def _inputs(self, said: Content, step: dict[str, Any]) -> Inputs:
        message = InboundMessage(
            message_id=self.source.new_id(),
            channel_message_id=f"wamid.{self.source.new_id().int}",
            received_at=self.now,
            channel_at=self.now,
            content=said,
            context=MessageContext(group_id=step.get("group")),
            attached_to=step.get("attached_to"),
            revision=_revision(step.get("revision")),
            redacted=step.get("redacted"),
            author=step.get("author"),
            from_us=step.get("from_us", False),
        )
        if message.from_us:
            self.silent_until = self.now + timedelta(seconds=self.policy.handoff.phone_app_silence_seconds)
        return Inputs(
            dispatch_id=self.source.new_id(),
            now=self.now,
            source=self.source,
            policy=self.policy,
            registry=self.registry,
            contact=self.contact,
            thread_id=self.thread_id,
            channel="whatsapp",
            message=message,
            session=self.session,
            previous_session_id=self.previous_session_id,
            flows=self.flows,
            running=self.flows.get(self.session.flow.flow) if self.session and self.session.flow else None,
            menu=self.menu,
            refused=Refusal(**step["refused"]) if "refused" in step else None,
            busy=_busy(step["busy"]) if "busy" in step else None,
            code_open=self.code_open,
            silent_until=self.silent_until,
            written=_language(step.get("written")),
        )

    def _answer(self, effect: Effect, answers: Iterator[dict[str, Any]]) -> Result:
        match effect:
            case Commit(turn=turn):
                self._commit(turn)
                return Committed(at=self.now)
            case Pause(seconds=seconds):
                self.now += timedelta(seconds=seconds)
                return Resumed(at=self.now)
        scripted = next(answers, None)
        assert scripted is not None, f"the script has no answer to {effect}"
        if isinstance(effect, SendCode | CheckCode | VoidCode):
            return self._about_code(effect, scripted)
        match effect, *scripted.items():
            case Classify(), *_, ("classified", guesses):
                return self._classified(guesses, scripted.get("classifier_failed"))
            case InvokeSkill(), ("returned", answer):
                return self._returned(answer)
            case InvokeSkill(), ("raised", error):
                return self._raised(error)
            case InvokeSkill(), ("dies", True):
                raise WorkerDiedError
        raise AssertionError(f"the script answers {effect} with {scripted}")

    def _classified(self, guesses: dict[str, float], failed: dict[str, Any] | None = None) -> Classified:
        self.now += timedelta(milliseconds=CLASSIFY_MS)
        failure = failed and ClassifierFailure(
            classifier="model",
            classifier_version="some-model 1",
            error_class=failed["class"],
            message=failed["message"],
            duration_ms=failed.get("duration_ms", 0.5),
            attempts=failed["attempts"],
            cost_micros=failed.get("cost_micros", 0),
        )
        return Classified(
            at=self.now,
            classifier="scripted",
            classifier_version="1",
            candidates=tuple(Candidate(intent=i, confidence=c) for i, c in guesses.items()),
            duration_ms=CLASSIFY_MS,
            cost_micros=5,
            failure=failure or None,
        )

    def _returned(self, answer: dict[str, Any]) -> SkillReturned:
        self.now += timedelta(milliseconds=SKILL_MS)
        replies = [Text(r) if isinstance(r, str) else content.from_json(r) for r in answer.get("replies", ())]
        return SkillReturned(
            at=self.now,
            duration_ms=SKILL_MS,
            replies=tuple(replies),
            data=answer.get("data", {}),
            resolve=answer.get("resolve", False),
            cost_micros=answer.get("cost_micros", 0),
        )

    def _about_code(self, effect: SendCode | CheckCode | VoidCode, scripted: dict[str, Any]) -> Result:
        match effect, *scripted.items():
            case SendCode(), ("code_sent", sent):
                self.code_open = True
                at = self.now + timedelta(seconds=sent.get("seconds", 600))
                return CodeSent(at=self.now, to=sent["to"], expires_at=at, elsewhere=sent.get("elsewhere", False))
            case CheckCode(), ("code_checked", checked):
                if checked["right"]:
                    self.code_open = False
                    self.contact = dataclasses.replace(self.contact, level=Level.CONTACT_CONFIRMED)
                return CodeChecked(at=self.now, right=checked["right"], attempts_left=checked["left"])
            case VoidCode(), ("code_voided", True):
                self.code_open = False
                return CodeVoided(at=self.now)
            case _, ("code_refused", refused):
                why = CodeRefusal(refused["why"])
                self.code_open = self.code_open and why is CodeRefusal.TOO_SOON
                return CodeRefused(at=self.now, reason=why, wait_seconds=refused.get("wait_seconds", 0))
        raise AssertionError(f"the script answers {effect} with {scripted}")

    def _raised(self, error: dict[str, Any]) -> SkillRaised:
        self.now += timedelta(milliseconds=SKILL_MS)
        return SkillRaised(
            at=self.now,
            duration_ms=SKILL_MS,
            error_class=error["class"],
            message=error["message"],
            retryable=error["retryable"],
        )

    def _commit(self, turn: Turn) -> None:
        """Store the session as JSON and go on with what is read back."""
        stored = json.dumps(session_to_json(turn.session))
        read = session_from_json(json.loads(stored))
        assert read == turn.session
        self.turns.append(turn)
        for event in turn.events:
            if isinstance(event.payload, LanguageRecognized):
                self.contact = dataclasses.replace(self.contact, locale=event.payload.language, language_read=True)
        ended = read.state in TERMINAL
        self.session = None if ended else read
        self.previous_session_id = read.session_id if ended else self.previous_session_id

    def _written(self, step: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = {
            name: step[name]
            for name in (
                "text",
                "content",
                "expire",
                "orphaned",
                "given_up",
                "retried_by",
                "refused",
                "busy",
                "written",
                *PEOPLE,
            )
            if name in step
        }
        return {
            "at": step["at"],
            **said,
            "turns": [self._turn(turn) for turn in self.turns],
            "session": _plain(session_to_json(self.turns[-1].session)) if self.turns else None,
        }

    def _turn(self, turn: Turn) -> dict[str, Any]:
        return {
            "final": turn.final,
            "events": [
                {
                    "type": event.payload.type,
                    "after": round((event.at - self.beginning).total_seconds(), 4),
                    "actor": event.actor.kind.value,
                    "payload": _plain(payload_json(event.payload)),
                }
                for event in turn.events
            ],
            "transcript": [
                {"sender": item.sender.value, **_plain(content.to_json(item.content))} for item in turn.transcript
            ],
        }


def _agent(name: str) -> Agent:
    return Agent(agent_id=UUID(int=10_000 + sum(name.encode())), name=name)


def _take(play: Scenario, session: Session, given: str | dict[str, Any], how: Taking) -> Turn | None:
    """*given* is who has it from here on, or that with ``by``, ``reason``, and the messages ``stopped``."""
    told: dict[str, Any] = {"agent": given} if isinstance(given, str) else given
    by = Actor(ActorKind.AGENT, told.get("by", told["agent"]))
    unsent = UnsentReplies(stopped=[UUID(int=one) for one in told.get("stopped", ())])
    agent, reason = _agent(told["agent"]), told.get("reason", "")
    return handoff.take(session, agent, play.now, play.source, by=by, how=how, reason=reason, unsent=unsent)


def _answer(play: Scenario, session: Session, given: dict[str, Any]) -> Turn:
    agent, reply = _agent(given["by"]), Text(given["text"])
    until = play.now + timedelta(hours=1)
    return handoff.answer(session, agent, reply, play.now, play.source, channel="whatsapp", window_until=until)


PEOPLE: dict[str, Callable[[Scenario, Session, Any], Turn | None]] = {
    "claim": lambda p, s, given: _take(p, s, given, Taking.CLAIMED),
    "take_over": lambda p, s, given: _take(p, s, given, Taking.TAKEN_OVER),
    "assign": lambda p, s, given: _take(p, s, given, Taking.ASSIGNED),
    "answer": _answer,
    "note": lambda p, s, given: handoff.add_note(s, _agent(given["by"]), given["text"], p.now, p.source),
    "unassign": lambda p, s, given: handoff.unassign(s, _agent(given["by"]), p.now, p.source, reason=given["reason"]),
    "return": lambda p, s, given: handoff.return_to_bot(s, _agent(given["by"]), p.now, p.source, note=given["note"]),
    "resolve": lambda p, s, given: handoff.resolve(s, _agent(given["by"]), p.now, p.source, reason=given["reason"]),
    "release": lambda p, s, given: handoff.release(s, _administrator(given), p.now, p.source, reason=given["reason"]),
    "time_out": lambda p, s, seconds: handoff.time_out(s, p.now, p.source, idle_seconds=seconds),
    "unattended": lambda p, s, seconds: handoff.note_unattended(s, p.now, p.source, allowed_seconds=seconds),
}
"""What people do, and what time does to what waits for them."""


def _administrator(given: dict[str, Any]) -> Actor:
    return Actor(ActorKind.ADMINISTRATOR, given["by"])


def play(path: Path) -> dict[str, Any]:
    """Play the scenario in this file."""
    return Scenario(yaml.safe_load(path.read_text())).play()


def drain(core: Generator[Effect, Result, Turn], answer: Any) -> tuple[list[Effect], list[Turn]]:
    """Run *core* to its end with ``answer(effect)`` as results: its effects, and its turns in order."""
    effects: list[Effect] = []
    turns: list[Turn] = []
    try:
        effect = next(core)
        while True:
            effects.append(effect)
            if isinstance(effect, Commit):
                turns.append(effect.turn)
            effect = core.send(answer(effect))
    except StopIteration as stop:
        turns.append(stop.value)
    return effects, turns


def _contact(script: dict[str, Any], source: CountingSource) -> Contact:
    partner = script.get("business_partner")
    return Contact(
        contact_id=source.new_id(),
        display_name=script.get("name", "Ada Byron"),
        phone=script.get("phone", "+447700900001"),
        locale=script.get("locale", "en"),
        level=Level[script.get("level", "UNVERIFIED")],
        business_partner=partner and BusinessPartner(business_partner_id=source.new_id(), **partner),
    )


def _registry(script: dict[str, Any]) -> Registry:
    specs = script.get("registry") or yaml.safe_load((HERE / "registry.yaml").read_text())["skills"]
    retired = script.get("retired", ())
    built_in = {spec.name: spec for spec in BUILT_IN} if script.get("codes") else {}
    return built_in | {spec["name"]: spec_from_json({**spec, "retired": spec["name"] in retired}) for spec in specs}


def _language(said: dict[str, float] | None) -> WrittenLanguage | None:
    return next((WrittenLanguage(language=name, confidence=sure) for name, sure in (said or {}).items()), None)


def _busy(script: dict[str, Any]) -> Busy:
    return Busy(reason=script["reason"], other_session_id=UUID(int=999) if script.get("elsewhere") else None)


def _flows(script: dict[str, Any]) -> Flows:
    retired = script.get("retired", ())
    return {
        name: flow_from_json(definition(name), version=1, retired=name in retired) for name in script.get("flows", ())
    }


def _menu(script: dict[str, Any]) -> Menu | None:
    return menu_from_json(definition(script["default_menu"]), version=1) if "default_menu" in script else None


def definition(name: str) -> Any:
    """The flow or menu of that name, in its JSON form."""
    return yaml.safe_load((HERE / "definitions" / f"{name}.yaml").read_text())


def _policy(script: dict[str, Any]) -> Policy:
    menu = script.get("menu") or yaml.safe_load((HERE / "registry.yaml").read_text())["menu"]
    return policy_from_json({**script, "menu": menu})


def _revision(script: dict[str, Any] | None) -> Revision | None:
    if script is None:
        return None
    written = script.get("content")
    return Revision(content=written and content.from_json(written), by=script["by"])


def _content(step: dict[str, Any]) -> Content:
    return Text(step["text"]) if "text" in step else content.from_json(step["content"])


def _plain(value: Any) -> Any:
    """Through JSON, as the ledger stores it; what is no JSON fails here."""
    return json.loads(json.dumps(value, allow_nan=False))
