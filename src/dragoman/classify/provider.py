"""Trains the local classifier once for each state of a registry, and keeps the latest few."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from dragoman.classify import Classifier
from dragoman.classify.local import train
from dragoman.domain.nouns import Registry

KEPT = 32
"""Classifiers in memory: one for each tenant that was active lately."""


class LocalClassifiers:
    """Gives the classifier for a registry; two callers that need a new one at once wait for one training."""

    def __init__(self) -> None:
        self._trained: OrderedDict[int, tuple[Registry, asyncio.Future[Classifier]]] = OrderedDict()

    async def classifier_for(self, registry: Registry) -> Classifier:
        """Registries are told apart by identity: the store hands out one object for each state."""
        key = id(registry)
        if key not in self._trained:
            training = asyncio.ensure_future(asyncio.to_thread(train, registry))
            # The registry is kept, so that its id cannot pass to another one.
            self._trained[key] = (registry, training)
            while len(self._trained) > KEPT:
                self._trained.popitem(last=False)
        self._trained.move_to_end(key)
        try:
            return await asyncio.shield(self._trained[key][1])
        except Exception:
            self._trained.pop(key, None)
            raise
