"""Circuit breakers of language models: a server that does not answer costs a few contacts its deadline, not all.

Each process has its own: what one learns is soon learnt by the others, and no table has to be written for each message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime

from dragoman.classify.model_errors import ModelNotAskedError
from dragoman.domain.circuit import Circuit

KEPT = 256


class ModelCircuits:
    """Knows of each access to a model how its latest requests went."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Circuit] = OrderedDict()

    def begin(self, access: Hashable, now: datetime, host: str) -> None:
        """Count a request in. Raises ModelNotAskedError while the circuit is open and no trial is due."""
        circuit = self._known.get(access, Circuit())
        if circuit.open_since is None:
            return
        if not circuit.may_try(now):
            raise ModelNotAskedError(
                f"{host} was not asked: it has failed since {circuit.open_since:%H:%M:%S} UTC "
                f"({circuit.reason}) and is tried again in a while"
            )
        self._known[access] = circuit.trying(now)

    def failed(self, access: Hashable, now: datetime, reason: str) -> None:
        """Count a request that failed by the server's fault."""
        self._known[access] = self._known.get(access, Circuit()).failed(now, reason)
        self._known.move_to_end(access)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def answered(self, access: Hashable) -> None:
        """Close the circuit: the server answers."""
        self._known.pop(access, None)
