"""The short form of the schedules, and that the simulation finds what is broken on purpose."""

from __future__ import annotations

import pytest

from dragoman.dispatch.turn import Turn
from dragoman.domain.handoff import Handoff
from dragoman.domain.nouns import Session
from tests.handoff.simulation import PlayedEntry, PlayedLease, Schedule, WrongError, play

SHORT = 400
"""Schedules in each run of the tests; ``python -m tests.handoff`` plays 100,000."""

MOST = 4_000
"""Schedules within which a fault must be found."""


def test_nothing_is_wrong_in_any_schedule() -> None:
    for seed in range(SHORT):
        play(seed)


def test_a_schedule_is_a_function_of_its_seed() -> None:
    assert play(7).log == play(7).log
    assert play(7).log != play(8).log


def test_a_failure_says_how_to_see_it_again() -> None:
    class AlwaysWrong(Schedule):
        def play(self) -> None:
            self._move()
            raise WrongError("as told")

    with pytest.raises(WrongError) as caught:
        play(3, AlwaysWrong)
    (note,) = caught.value.__notes__
    assert note.startswith("seed 3: again with python -m tests.handoff --seed 3\n")
    assert "the contact writes" in note


def test_the_schedules_come_to_what_they_are_for() -> None:
    """Or nothing would be shown by them: each of these happens again and again."""
    told = "\n".join(what for seed in range(SHORT) for _, _, what in play(seed).log)
    for what in (
        "has the session (claimed",
        "has the session (taken_over",
        "has the session (automatic",
        "is over (returned)",
        "is over (resolved)",
        "is over (released)",
        "is over (ended)",
        "is over (timed_out)",
        "takes the lease over",
        "is killed",
        "is orphaned",
        "comes late",
        "has lost its lease",
        "of the bot is stopped",
        "of an earlier session is stopped",
        "is withheld",
        "is done already",
        "the bot is busy",
    ):
        assert told.count(what) > 1, what


class WithoutFence(Schedule):
    """Senders do not look whether a person has taken the session."""

    def is_fenced(self, entry: PlayedEntry) -> bool:  # noqa: ARG002
        return False


class WithoutKeys(Schedule):
    """Each request is new."""

    def is_new(self, key: int) -> bool:  # noqa: ARG002
        return True


class WithoutTokens(Schedule):
    """Whoever had the lease once may write."""

    @staticmethod
    def verify(lease: PlayedLease, token: int) -> None:
        pass


class WithoutEarlierSessions(Schedule):
    """A claim stops what the bot has still to send in its own session only."""

    def open_before(self, session: Session) -> list[PlayedEntry]:
        return [entry for entry in super().open_before(session) if entry.session_id == session.session_id]


class WithoutOvertaken(Schedule):
    """What comes back after it had been settled is not asked whether a person has the contact by now."""

    def is_overtaken(self, entry: PlayedEntry) -> bool:  # noqa: ARG002
        return False


class FenceBeginsAnew(Schedule):
    """Each human part counts from nought."""

    def human_of(self, turn: Turn, before: Handoff | None) -> Handoff | None:
        human = super().human_of(turn, before)
        if human is None or before is None or human.escalated_at == before.escalated_at:
            return human
        return Handoff(escalated_at=human.escalated_at, waiting_since=human.waiting_since)


class OwnerStays(Schedule):
    """The row is not written when the human part ends."""

    def human_of(self, turn: Turn, before: Handoff | None) -> Handoff | None:
        human = super().human_of(turn, before)
        return before if before is not None and human is not None and human.ended_at is not None else human


FAULTS = [
    WithoutFence,
    WithoutKeys,
    WithoutTokens,
    WithoutEarlierSessions,
    WithoutOvertaken,
    FenceBeginsAnew,
    OwnerStays,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: type[Schedule]) -> None:
    for seed in range(MOST):
        try:
            play(seed, fault)
        except Exception:
            return
    pytest.fail(f"{MOST} schedules do not find it: {fault.__doc__}")
