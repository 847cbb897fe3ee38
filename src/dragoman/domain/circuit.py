"""A circuit breaker: whether a channel can be reached at all, as far as the latest attempts tell.

Closed, everything goes. After some failures in a row it opens: nothing goes but a few on trial, at pauses that grow.
The first answer of the channel closes it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta

FAILURES_TO_OPEN = 3
"""So many attempts in a row without an answer are no chance any more."""

TRIAL_PAUSES = tuple(timedelta(seconds=s) for s in (5, 10, 20, 40, 60))
"""Before each further trial; the last one goes on, for as long as the outage lasts."""

MESSAGES_ON_TRIAL = 3
"""So many messages go at a time where what fails may be a message and not the channel: no single one of them, which
itself is the trouble, keeps all others waiting for the next trial.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """How a channel account's latest attempts went.

    ``failures`` counts those in a row that failed, from ``failing_since`` on, the latest for ``reason``. It is open
    where ``open_since`` is given: then ``trial_at`` is when the next one may be tried, after ``trials`` of them.
    """

    failures: int = 0
    failing_since: datetime | None = None
    open_since: datetime | None = None
    reason: str = ""
    trial_at: datetime | None = None
    trials: int = 0

    @property
    def is_open(self) -> bool:
        """Whether nothing goes but on trial."""
        return self.open_since is not None

    @property
    def is_spotless(self) -> bool:
        """Whether the latest attempt was answered, so that another answer is no news."""
        return not self.failures and not self.is_open

    def failed(self, now: datetime, reason: str) -> Circuit:
        """After one more attempt that reached nobody; open where it is the one too many."""
        failures, since = self.failures + 1, self.failing_since or now
        counted = dataclasses.replace(self, failures=failures, failing_since=since, reason=reason)
        if self.is_open or failures < FAILURES_TO_OPEN:
            return counted
        return dataclasses.replace(counted, open_since=since, trial_at=now + TRIAL_PAUSES[0], trials=0)

    def may_try(self, now: datetime) -> bool:
        """Whether it is time for a trial."""
        return self.trial_at is not None and self.trial_at <= now

    def trying(self, now: datetime, *, at_once: int = 1) -> Circuit:
        """With one more on trial; with the last of *at_once* the pause begins, should nobody hear of them again."""
        trials = self.trials + 1
        rounds, begun = divmod(trials, at_once)
        if begun:
            return dataclasses.replace(self, trials=trials)
        return dataclasses.replace(self, trials=trials, trial_at=now + TRIAL_PAUSES[min(rounds, len(TRIAL_PAUSES) - 1)])
