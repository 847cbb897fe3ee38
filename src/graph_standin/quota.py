"""The rates that Meta documents, kept by counting what was taken: the number's throughput, and the pair rate.

https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput and the overview's rate limits: a
number sends 80 messages in any second; one user gets one message in six seconds, or up to 45 at once that are borrowed
from the quota to come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from graph_standin.answers import PlannedFault

PAIR = timedelta(seconds=6)
PAIR_BURST = 45
_SECOND = timedelta(seconds=1)


class Quota:
    """What each number and each pair has used; a refused message uses nothing."""

    def __init__(self, clock: Callable[[], datetime], messages_per_second: int | None, *, pair_limit: bool) -> None:
        self._clock = clock
        self._rate = messages_per_second
        self._pair_limit = pair_limit
        self._sent: dict[str, deque[datetime]] = {}
        self._borrowed_until: dict[tuple[str, str], datetime] = {}
        self.most_in_a_second = 0

    def claim(self, phone_number_id: str, recipient: str) -> PlannedFault | None:
        """Count one message, or say why it is too much."""
        now = self._clock()
        sent = self._sent.setdefault(phone_number_id, deque())
        while sent and sent[0] <= now - _SECOND:
            sent.popleft()
        if self._rate is not None and len(sent) >= self._rate:
            return PlannedFault(130429, "Cloud API message throughput has been reached.")
        pair = (phone_number_id, recipient)
        borrowed = max(self._borrowed_until.get(pair, now), now)
        if self._pair_limit and borrowed - now > PAIR * (PAIR_BURST - 1):
            return PlannedFault(131056, "Too many messages sent to the same phone number in a short time.")
        self._borrowed_until[pair] = borrowed + PAIR
        sent.append(now)
        self.most_in_a_second = max(self.most_in_a_second, len(sent))
        return None
