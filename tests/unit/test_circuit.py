"""The circuit breaker by itself: when it opens, what goes while it is open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dragoman.domain.circuit import FAILURES_TO_OPEN, TRIAL_PAUSES, Circuit

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def after(failures: int) -> Circuit:
    circuit = Circuit()
    for number in range(failures):
        circuit = circuit.failed(NOW + timedelta(seconds=number), f"failure {number}")
    return circuit


def test_it_stays_closed_for_a_failure_or_two() -> None:
    circuit = after(FAILURES_TO_OPEN - 1)
    assert not circuit.is_open
    assert not circuit.is_spotless


def test_it_opens_with_the_failure_too_many_and_says_since_when() -> None:
    circuit = after(FAILURES_TO_OPEN)
    assert circuit.is_open
    assert circuit.open_since == NOW
    assert circuit.reason == f"failure {FAILURES_TO_OPEN - 1}"


def test_one_trial_goes_after_a_pause_and_the_pauses_grow_to_a_limit() -> None:
    circuit = after(FAILURES_TO_OPEN)
    now = NOW + timedelta(seconds=FAILURES_TO_OPEN - 1)
    pauses = []
    for _ in range(len(TRIAL_PAUSES) + 2):
        assert circuit.trial_at is not None
        pauses.append(circuit.trial_at - now)
        assert not circuit.may_try(circuit.trial_at - timedelta(microseconds=1))
        now = circuit.trial_at
        assert circuit.may_try(now)
        circuit = circuit.trying(now)
        assert not circuit.may_try(now)
        circuit = circuit.failed(now, "still nothing")
    assert pauses == [*TRIAL_PAUSES, TRIAL_PAUSES[-1], TRIAL_PAUSES[-1]]


def test_a_few_go_at_once_and_the_pause_begins_with_the_last_of_them() -> None:
    circuit = after(FAILURES_TO_OPEN)
    for pause in TRIAL_PAUSES[1:]:
        now = circuit.trial_at
        assert now is not None
        for _ in range(3):
            assert circuit.may_try(now)
            circuit = circuit.trying(now, at_once=3).failed(now, "still nothing")
        assert not circuit.may_try(now)
        assert circuit.trial_at == now + pause


def test_a_failure_while_it_is_open_changes_neither_the_beginning_nor_the_next_trial() -> None:
    circuit = after(FAILURES_TO_OPEN)
    later = circuit.failed(NOW + timedelta(hours=1), "again")
    assert (later.open_since, later.trial_at, later.trials) == (circuit.open_since, circuit.trial_at, circuit.trials)
