"""The transition table against the product's words."""

from __future__ import annotations

import itertools

import pytest

from dragoman.domain.errors import IllegalTransitionError
from dragoman.domain.states import TERMINAL, TRANSITIONS, State, check_transition

# Product, section 2, sentence by sentence.
SPECIFIED = {
    "OPEN>ACTIVE",
    "ACTIVE>AWAITING_USER",
    "AWAITING_USER>ACTIVE",
    "ACTIVE>PROCESSING",
    "PROCESSING>ACTIVE",
    "ACTIVE>WITH_AGENT",
    "ACTIVE>RESOLVED",
    "WITH_AGENT>RESOLVED",
    "ACTIVE>EXPIRED",
    "AWAITING_USER>EXPIRED",
    "WITH_AGENT>ACTIVE",
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(State, repeat=2)))
def test_exactly_the_specified_transitions_are_legal(old: State, new: State) -> None:
    if f"{old}>{new}" in SPECIFIED:
        check_transition(old, new)
    else:
        with pytest.raises(IllegalTransitionError) as caught:
            check_transition(old, new)
        assert (caught.value.old, caught.value.new) == (old, new)


def test_terminal_states_are_those_without_a_way_out() -> None:
    assert {old for old, _ in TRANSITIONS}.isdisjoint(TERMINAL)
    assert set(State) - {old for old, _ in TRANSITIONS} == TERMINAL


def test_every_state_can_be_reached_from_open() -> None:
    reached = {State.OPEN}
    while new := {to for old, to in TRANSITIONS if old in reached} - reached:
        reached |= new
    assert reached == set(State)
