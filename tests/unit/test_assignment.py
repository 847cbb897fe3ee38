"""Who gets which waiting session: caps, order, fairness, and that nobody holds up those behind them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.assignment import AvailableAgent, WaitingSession, choose, speaks

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TOPICS = ("orders.status", "finance.statement", "support.open_ticket")
LANGUAGES = ("de", "en", "pt")


def _id(number: int) -> UUID:
    return UUID(int=number)


minutes = st.integers(0, 30).map(lambda ago: NOW - timedelta(minutes=ago))
sessions = st.lists(
    st.builds(
        WaitingSession,
        session_id=st.integers(0, 99).map(_id),
        escalated_at=minutes,
        intent=st.sampled_from([None, *TOPICS]),
        skill=st.sampled_from([None, *TOPICS]),
        language=st.sampled_from([None, "de", "de-AT", "en", "pt_BR", "fr"]),
    ),
    max_size=25,
    unique_by=lambda session: session.session_id,
)
agents = st.lists(
    st.builds(
        AvailableAgent,
        user_id=st.integers(1000, 1020).map(_id),
        topics=st.lists(st.sampled_from(TOPICS), unique=True, max_size=2),
        languages=st.lists(st.sampled_from(LANGUAGES), unique=True, max_size=2),
        cap=st.sampled_from([None, 0, 1, 3]),
        open_sessions=st.integers(0, 4),
        last_assigned_at=st.none() | minutes,
    ),
    max_size=6,
    unique_by=lambda agent: agent.user_id,
)


def takes(agent: AvailableAgent, session: WaitingSession) -> bool:
    """What the rule says, written another way."""
    topic = not agent.topics or bool({session.intent, session.skill} & set(agent.topics))
    known = {language[:2] for language in agent.languages}
    return topic and (not known or session.language is None or session.language[:2] in known)


@given(sessions, agents, st.integers(1, 5))
def test_nobody_passes_their_cap_and_each_session_has_one_owner(
    waiting: list[WaitingSession], present: list[AvailableAgent], cap: int
) -> None:
    chosen = choose(waiting, present, cap)
    assert len({session_id for session_id, _ in chosen}) == len(chosen)
    given_out = Counter(user_id for _, user_id in chosen)
    by_id = {agent.user_id: agent for agent in present}
    for user_id, number in given_out.items():
        agent = by_id[user_id]
        assert agent.open_sessions + number <= (cap if agent.cap is None else agent.cap)
    waits = {session.session_id: session for session in waiting}
    assert all(takes(by_id[user_id], waits[session_id]) for session_id, user_id in chosen)


@given(sessions, agents, st.integers(1, 5))
def test_what_waits_longest_comes_first_and_holds_up_nobody(
    waiting: list[WaitingSession], present: list[AvailableAgent], cap: int
) -> None:
    chosen = choose(waiting, present, cap)
    order = [session.session_id for session in sorted(waiting, key=lambda one: (one.escalated_at, one.session_id))]
    assert [session_id for session_id, _ in chosen] == [one for one in order if one in dict(chosen)]
    # What is left could be taken by nobody who has room: of all that an agent can take, the longest-waiting went.
    room = {
        agent.user_id: (cap if agent.cap is None else agent.cap)
        - agent.open_sessions
        - list(dict(chosen).values()).count(agent.user_id)
        for agent in present
    }
    for session in waiting:
        if session.session_id not in dict(chosen):
            assert not any(room[agent.user_id] > 0 and takes(agent, session) for agent in present)
            # An agent without room has none because of sessions that waited longer.
            for session_id, user_id in chosen:
                agent = next(one for one in present if one.user_id == user_id)
                if takes(agent, session):
                    assert order.index(session_id) < order.index(session.session_id)


@given(sessions, agents, st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_same_queue_gives_the_same_owners_in_whatever_order_it_is_read(
    waiting: list[WaitingSession], present: list[AvailableAgent], cap: int, chance: random.Random
) -> None:
    expected = choose(waiting, present, cap)
    chance.shuffle(waiting)
    chance.shuffle(present)
    assert choose(waiting, present, cap) == expected


@given(st.integers(1, 7), st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_equal_agents_get_equally_many_over_many_rounds(number: int, rounds: list[int]) -> None:
    present = {UUID(int=1000 + each): AvailableAgent(user_id=UUID(int=1000 + each)) for each in range(number)}
    next_id, at = 0, NOW
    for arriving in rounds:
        waiting = [WaitingSession(session_id=UUID(int=next_id + each), escalated_at=NOW) for each in range(arriving)]
        next_id += arriving
        for _, user_id in choose(waiting, list(present.values()), 10**6):
            at += timedelta(microseconds=1)  # as the store notes it: one after the other
            had = present[user_id].open_sessions
            present[user_id] = replace(present[user_id], last_assigned_at=at, open_sessions=had + 1)
        counts = [agent.open_sessions for agent in present.values()]
        assert sum(counts) == next_id
        assert max(counts) - min(counts) <= 1


def test_a_session_that_nobody_can_take_waits_and_those_behind_it_do_not() -> None:
    french = WaitingSession(session_id=UUID(int=1), escalated_at=NOW - timedelta(hours=1), language="fr")
    german = WaitingSession(session_id=UUID(int=2), escalated_at=NOW, language="de-AT")
    agent = AvailableAgent(user_id=UUID(int=9), languages=["de"])
    assert choose([french, german], [agent], 5) == [(german.session_id, agent.user_id)]


def test_whoever_never_had_one_is_first_and_then_whoever_waits_longest() -> None:
    old, late, new = (
        AvailableAgent(user_id=UUID(int=number), last_assigned_at=at)
        for number, at in ((1, NOW - timedelta(hours=2)), (2, NOW - timedelta(hours=1)), (3, None))
    )
    waiting = [WaitingSession(session_id=UUID(int=number), escalated_at=NOW) for number in range(10, 14)]
    chosen = [user_id for _, user_id in choose(waiting, [late, old, new], 5)]
    assert chosen == [new.user_id, old.user_id, late.user_id, new.user_id]


@pytest.mark.parametrize(
    ("languages", "wanted", "can"),
    [
        ((), "fr", True),
        (("de",), None, True),
        (("de",), "de-AT", True),
        (("pt-BR",), "pt_PT", True),
        (("de",), "en", False),
    ],
)
def test_a_region_makes_no_difference_to_who_speaks_a_language(
    languages: tuple[str, ...], wanted: str | None, can: bool
) -> None:
    assert speaks(languages, wanted) is can
