"""The demo shop: its skills, and its invented customers walking through the real core."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid5

import pytest

import dragoman_shop
from dragoman.channels.whatsapp.contents import content_of
from dragoman.channels.whatsapp.locales import locale_of
from dragoman.classify import Classifier
from dragoman.classify.local import train
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import (
    AnswerChecked,
    CheckAnswer,
    Classified,
    Classify,
    Commit,
    Committed,
    Effect,
    InvokeSkill,
    Result,
    Resumed,
)
from dragoman.dispatch.effects import SkillReturned as Returned
from dragoman.dispatch.expire import expire
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.domain.content import Content, Media, Options, Text, Unsupported
from dragoman.domain.flow_graph import registry_problems
from dragoman.domain.flows import STEP_TYPES, BranchStep, SkillStep
from dragoman.domain.menus import NODE_TYPES, SkillNode, iterate_nodes, reference_problems
from dragoman.domain.nouns import BusinessPartner, Contact, InboundMessage, Level, MenuItem, Policy, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import TERMINAL
from dragoman.services.catalogue.import_definitions import read_flow, read_menu
from dragoman.skills import collect, load_entry_points
from dragoman.skills import registry as skill_registry
from dragoman.skills.invoke import invoke
from dragoman_shop import pace
from dragoman_shop.conversations import Script, Step, conversations
from dragoman_shop.customers import BUSINESS_PARTNERS, PEOPLE, Customer
from dragoman_shop.menu import DEFINITION, FLOWS, MENU
from dragoman_shop.pictures import parcel
from dragoman_shop.registry import RETIRED
from dragoman_shop.stories import PAY
from dragoman_shop.utterances import SAID
from tests.scenarios.driver import CountingSource
from tests.waiting import PATIENCE_S

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SKILLS = collect(dragoman_shop)
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
LANGUAGES = {"en", "de", "es", "fr", "pt", "it"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "factor", 0.0)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train({name: skill.spec for name, skill in SKILLS.items()})


def test_the_entry_point_finds_the_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    named = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][skill_registry.GROUP]
    points = [EntryPoint(name, value, skill_registry.GROUP) for name, value in named.items()]
    monkeypatch.setattr(skill_registry, "entry_points", lambda group: points if group == points[0].group else [])
    assert load_entry_points() == dict(sorted(SKILLS.items()))


def test_every_skill_speaks_all_languages_in_phrases_and_prompts() -> None:
    for skill in SKILLS.values():
        phrases = Counter(phrase.locale for phrase in skill.spec.phrases)
        assert set(phrases) == LANGUAGES, skill.spec.name
        assert all(count >= 3 for count in phrases.values())
        for parameter in skill.spec.parameters:
            assert set(parameter.prompts) == LANGUAGES, (skill.spec.name, parameter.name)
            assert all(set(parameter.titles[choice]) == LANGUAGES for choice in parameter.choices)


def test_the_menu_and_the_sentences_are_complete_and_fit() -> None:
    assert set(MENU) <= set(SKILLS)
    assert not set(MENU) & set(RETIRED)
    assert set(RETIRED) <= set(SKILLS)
    for titles in MENU.values():
        assert set(titles) == LANGUAGES
        assert all(len(title) <= 24 for title in titles.values())
    assert all(set(sentences) == LANGUAGES and all(sentences.values()) for sentences in SAID.values())


def test_the_flows_and_the_menu_speak_all_languages_and_name_what_is_there() -> None:
    registry = {name: skill.spec for name, skill in SKILLS.items()}
    flows = {flow.name: flow for flow, _ in (read_flow(path.read_text()) for path in FLOWS)}
    assert {step.type for flow in flows.values() for step in flow.steps} == set(STEP_TYPES)
    for flow in flows.values():
        assert registry_problems(flow, registry) == []
        titles = [choice.titles for variable in flow.variables for choice in variable.choices]
        texts = [step.texts for step in flow.steps if not isinstance(step, SkillStep | BranchStep) and step.texts]
        assert all(set(by_language) == LANGUAGES for by_language in (*titles, *texts))
    menu, _ = read_menu(DEFINITION.read_text())
    assert reference_problems(menu, registry, flows) == []
    nodes = [node for node, _ in iterate_nodes(menu.nodes)]
    assert {node.type for node in nodes} == set(NODE_TYPES)
    assert all(set(node.titles) == LANGUAGES for node in nodes)
    assert next(node for node in nodes if node.node == "pay").titles == PAY
    # People in the stories type the positions of topics.
    assert [n.skill for n in menu.nodes if isinstance(n, SkillNode)] == [
        name for name in MENU if name != "orders.return"
    ]


def test_people_have_numbers_of_their_own_in_the_language_of_their_country() -> None:
    assert len({person.phone for person in PEOPLE}) == len(PEOPLE) >= 80
    assert len({person.name for person in PEOPLE}) == len(PEOPLE)
    # Belgians write French here; all others write what their calling code suggests.
    assert all(locale_of(person.phone) == person.language for person in PEOPLE)
    assert {phone for partner in BUSINESS_PARTNERS for phone in partner.phones} <= {p.phone for p in PEOPLE}


def called(name: str, locale: str, attempt: int = 1, **parameters: str) -> InvokeSkill:
    return InvokeSkill(
        skill=name,
        skill_version="1",
        parameters=parameters,
        attempt=attempt,
        timeout_seconds=PATIENCE_S,
        idempotency_key="k",
        contact_id=UUID(int=7),
        locale=locale,
        business_partner=BusinessPartner(business_partner_id=UUID(int=8), number="BP-1", name="Acme"),
    )


EXAMPLES: dict[str, dict[str, str]] = {
    "deliveries.reschedule": {"order_number": "vf-12345", "new_date": "2026-03-09"},
    "finance.ar_balance": {},
    "finance.invoices": {},
    "loyalty.points": {},
    "orders.cancel": {"order_number": "VF-12345"},
    "orders.return": {"order_number": "VF-12345", "reason": "damaged"},
    "orders.status": {"order_number": "VF-12345"},
    "payments.link": {"order_number": "VF-12345"},
    "products.availability": {"product": "drill"},
    "stores.hours": {},
    "stores.nearest": {"city": "leeds"},
    "support.open_ticket": {"description": "it leaks"},
    "support.warranty": {"serial": "sn-ab123456"},
}


@pytest.mark.parametrize("name", sorted(SKILLS))
@pytest.mark.parametrize("locale", sorted(LANGUAGES))
async def test_every_skill_answers_the_same_each_time_and_in_the_contacts_language(name: str, locale: str) -> None:
    call = called(name, locale, attempt=2, **EXAMPLES[name])
    first, again = [await invoke(SKILLS[name], call, lambda: NOW) for _ in range(2)]
    if name == "payments.link":
        assert not isinstance(first, Returned)
        assert first.retryable
        return
    assert isinstance(first, Returned)
    assert isinstance(again, Returned)
    assert (first.replies, first.data) == (again.replies, again.data)
    english = await invoke(SKILLS[name], replace(call, locale="en"), lambda: NOW)
    assert isinstance(english, Returned)
    assert (first.replies == english.replies) == (locale == "en")
    words = [part for part in first.replies if isinstance(part, Text | Options)]
    assert words
    for reply in words:
        body = reply.body if isinstance(reply, Text | Options) else ""
        assert body
        assert "{" not in body
        if isinstance(reply, Options):
            assert all(len(option.title) <= 20 for option in reply.options)


def test_a_picture_is_a_png() -> None:
    assert parcel(3).startswith(b"\x89PNG\r\n\x1a\n")
    assert parcel(3) == parcel(3) != parcel(4)


def test_the_scripts_are_the_same_each_time_in_order_and_apart() -> None:
    scripts = conversations(320, 7)
    assert scripts == conversations(320, 7) != conversations(320, 8)
    assert len(scripts) == 320
    assert [s.start for s in scripts] == sorted(s.start for s in scripts)
    assert timedelta(0) <= scripts[0].start < timedelta(days=20)
    assert timedelta(days=90) < scripts[-1].start < timedelta(days=100)
    assert {s.person.language for s in scripts} == LANGUAGES
    for person in PEOPLE:
        starts = [s.start for s in scripts if s.person == person]
        assert all(later - earlier >= timedelta(hours=3) for earlier, later in pairwise(starts))


def test_every_step_is_a_message_that_the_channel_understands() -> None:
    kinds: Counter[str] = Counter()
    for script in conversations(320, 7):
        for step in script.steps:
            content = received(step)
            kinds[content.kind] += 1
            if isinstance(content, Unsupported):
                assert step.message["type"] == "unsupported", step.message
            assert (step.attachment is not None) == isinstance(content, Media)
    assert set(kinds) == {"text", "choice", "reaction", "media", "location", "contacts", "unsupported"}


def received(step: Step) -> Content:
    """What the channel makes of a step, once its file was uploaded."""
    message = {"from": "1", "id": "w", "timestamp": "1", **step.message}
    if step.attachment is not None:
        kind = step.message["type"]
        message[kind] = {**message[kind], "id": "123"}
    return content_of(message)


def contact_of(person: Customer) -> Contact:
    """The contact that the number resolves to."""
    partners = [
        BusinessPartner(
            business_partner_id=uuid5(UUID(int=0), partner.number), number=partner.number, name=partner.name
        )
        for partner in BUSINESS_PARTNERS
        if person.phone in partner.phones
    ]
    return Contact(
        contact_id=uuid5(UUID(int=0), person.phone),
        display_name=person.name,
        phone=person.phone,
        locale=person.language,
        level=Level.PHONE_MATCHED if partners else Level.UNVERIFIED,
        business_partner=partners[0] if partners else None,
    )


class ShopHarness:
    """Contacts, sessions and the real core, classifier and skills, without a database."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.source = CountingSource()
        self.sessions: dict[str, Session] = {}
        self.ended: list[Session] = []
        self.registry = {n: replace(s.spec, retired=n in RETIRED) for n, s in SKILLS.items()}
        flows = [read_flow(path.read_text())[0] for path in FLOWS]
        self.flows = {flow.name: replace(flow, version=1) for flow in flows}
        self.menu, _ = read_menu(DEFINITION.read_text())
        self.policy = Policy(menu=tuple(MenuItem(skill=n, titles=t) for n, t in MENU.items()))

    async def tell(self, script: Script) -> None:
        """Play the whole script, and let the session expire after it."""
        at = NOW + script.start
        for step in script.steps:
            at += timedelta(seconds=step.pause_seconds)
            await self._message(script, step, at)
        session = self.sessions.get(script.person.phone)
        if session is not None:
            self._keep(script.person.phone, expire(session, at + timedelta(hours=1), self.policy, self.source))

    async def _message(self, script: Script, step: Step, at: datetime) -> None:
        person = script.person
        session = self.sessions.get(person.phone)
        core = dispatch(
            Inputs(
                dispatch_id=self.source.new_id(),
                now=at,
                source=self.source,
                policy=self.policy,
                registry=self.registry,
                contact=contact_of(person),
                thread_id=uuid5(UUID(int=1), person.phone),
                channel="whatsapp",
                message=InboundMessage(
                    message_id=self.source.new_id(),
                    channel_message_id="w",
                    received_at=at,
                    channel_at=at,
                    content=received(step),
                ),
                session=session,
                flows=self.flows,
                running=self.flows[session.flow.flow] if session and session.flow else None,
                menu=self.menu,
            )
        )
        try:
            effect = next(core)
            while True:
                effect = core.send(await self._answer(effect, at))
        except StopIteration as stop:
            self._keep(person.phone, stop.value)

    async def _answer(self, effect: Effect, at: datetime) -> Result:
        match effect:
            case Classify(text=text, locale=locale):
                return Classified(
                    at=at,
                    classifier="local",
                    classifier_version=self.classifier.version,
                    candidates=self.classifier.classify(text, locale),
                    duration_ms=1.0,
                )
            case InvokeSkill(skill=skill):
                return await invoke(SKILLS[skill], effect, lambda: at)
            case Commit():
                return Committed(at=at)
            case CheckAnswer(messages=messages):
                return AnswerChecked(at=at, messages=tuple(replace(message, file=None) for message in messages))
        return Resumed(at=at)

    def _keep(self, phone: str, turn: Turn | None) -> None:
        if turn is None:
            return
        if turn.session.state in TERMINAL:
            self.sessions.pop(phone, None)
            self.ended.append(turn.session)
        else:
            self.sessions[phone] = turn.session

    def all_sessions(self) -> Iterator[Session]:
        yield from self.ended
        yield from self.sessions.values()


async def test_the_demo_shows_every_outcome_that_there_is_so_far(classifier: Classifier) -> None:
    harness = ShopHarness(classifier)
    for script in conversations(320, 20261123):
        await harness.tell(script)
    outcomes = Counter(session.outcome for session in harness.all_sessions())
    total = outcomes.total()
    assert total >= 300
    assert outcomes[Outcome.SUCCESS] / total > 0.55
    for outcome in (
        Outcome.SKILL_ERROR,
        Outcome.SKILL_RETIRED,
        Outcome.PARTIAL_FLOW_FAILURE,
        Outcome.VERIFICATION_REQUIRED,
        Outcome.HANDOFF,
        Outcome.TO_AGENT,
        Outcome.NONE,
    ):
        assert outcomes[outcome] >= 3, outcomes
    assert {session.state.value for session in harness.all_sessions()} == {"RESOLVED", "EXPIRED", "WITH_AGENT"}
    used = Counter(session.skill for session in harness.all_sessions())
    assert set(SKILLS) - set(used) <= {*RETIRED, "orders.cancel"}
