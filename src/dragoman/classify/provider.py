"""Gives out classifiers: the local one, trained once for each state of a registry, and language models before it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from dragoman.classify import Classifier, Clock, IntentReader
from dragoman.classify.language_model import LanguageModel, ModelAccess, ModelTransport
from dragoman.classify.local import train
from dragoman.classify.model_circuits import ModelCircuits
from dragoman.classify.prompt import Prompt
from dragoman.dispatch.effects import Classified, Classify
from dragoman.domain.nouns import Registry
from dragoman.domain.policies import ClassifierChoice

KEPT = 32
"""Classifiers in memory: one for each tenant that was active lately."""


class Classifiers:
    """Gives the classifier for a registry; two callers that need a new one at once wait for one training.

    *transport* carries requests to language models; *sleep* is for tests.
    """

    def __init__(self, transport: ModelTransport, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._trained: OrderedDict[int, tuple[Registry, asyncio.Future[Classifier]]] = OrderedDict()
        self._prompts: OrderedDict[tuple[int, ClassifierChoice], tuple[Registry, Prompt]] = OrderedDict()
        self._transport, self._sleep = transport, sleep
        self._circuits = ModelCircuits()

    async def classifier_for(self, registry: Registry) -> Classifier:
        """Train the local one, or give it where it is trained.

        Registries are told apart by identity: the store hands out one object for each state.
        """
        training = self._training(registry)
        try:
            return await asyncio.shield(training)
        except Exception:
            self._trained.pop(id(registry), None)
            raise

    async def reader_for(self, registry: Registry, access: ModelAccess | None) -> IntentReader:
        """Give what the tenant chose: a language model with the local one behind it, or without *access* that alone."""
        if access is None or not registry:
            return LocalReader(await self.classifier_for(registry))
        # Whoever falls back should not have to wait for a training on top.
        self._training(registry)
        model = LanguageModel(
            access, self._prompt(registry, access.choice), self._transport, self._circuits, self._sleep
        )
        return ReaderWithFallback(model, lambda: self.classifier_for(registry))

    def _training(self, registry: Registry) -> asyncio.Future[Classifier]:
        key = id(registry)
        if key not in self._trained:
            training = asyncio.ensure_future(asyncio.to_thread(train, registry))
            # The registry is kept, so that its id cannot pass to another one.
            self._trained[key] = (registry, training)
            while len(self._trained) > KEPT:
                self._trained.popitem(last=False)
        self._trained.move_to_end(key)
        return self._trained[key][1]

    def _prompt(self, registry: Registry, choice: ClassifierChoice) -> Prompt:
        key = (id(registry), choice)
        if key not in self._prompts:
            self._prompts[key] = (registry, Prompt.of(registry, choice))
            while len(self._prompts) > KEPT:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key][1]


class LocalReader:
    """Reads with a classifier of this process."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    async def read(self, wanted: Classify, clock: Clock) -> Classified:
        """Read at once; see :class:`~dragoman.classify.IntentReader`."""
        begun = time.perf_counter()
        candidates = self._classifier.classify(wanted.text, wanted.locale)
        return Classified(
            at=clock(),
            classifier=self._classifier.name,
            classifier_version=self._classifier.version,
            candidates=candidates,
            duration_ms=round((time.perf_counter() - begun) * 1000, 3),
        )


class ReaderWithFallback:
    """Asks a language model, and where it fails the local classifier: the contact gets an answer either way."""

    def __init__(self, model: LanguageModel, local: Callable[[], Awaitable[Classifier]]) -> None:
        self._model, self._local = model, local

    async def read(self, wanted: Classify, clock: Clock) -> Classified:
        """Read with the first that can; see :class:`~dragoman.classify.IntentReader`."""
        found = await self._model.ask(wanted, clock)
        if isinstance(found, Classified):
            return found
        local = LocalReader(await self._local())
        return dataclasses.replace(await local.read(wanted, clock), failure=found)
