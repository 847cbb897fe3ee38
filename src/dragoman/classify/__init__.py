"""Classifiers: what does a text want, as ranked candidates with confidence.

Rules stand in :mod:`dragoman.dispatch.words`; :mod:`~dragoman.classify.local` is trained on the skills' phrases,
:mod:`~dragoman.classify.language_model` asks a server. :mod:`~dragoman.classify.provider` hands out the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from dragoman.dispatch.effects import Classified, Classify
from dragoman.domain.events import Candidate
from dragoman.domain.questions import OUT_OF_SCOPE

Clock = Callable[[], datetime]

NOTHING = OUT_OF_SCOPE
"""The intent of what no skill is meant to answer."""

TOP = 5
"""How many candidates stand on the record."""


class Classifier(Protocol):
    """Reads a text where it stands. ``version`` changes whenever the same text could be read differently."""

    @property
    def name(self) -> str:
        """Which kind of classifier this is."""
        ...

    @property
    def version(self) -> str:
        """Which training data and code it goes by."""
        ...

    def classify(self, text: str, locale: str) -> tuple[Candidate, ...]:
        """What *text* may want, best first, in about a millisecond; ``out_of_scope`` stands for nothing known.

        Empty when nothing is known at all. Never raises for any text.
        """
        ...


class IntentReader(Protocol):
    """Does what the core's effect Classify asks for, with whichever classifier the tenant chose."""

    async def read(self, wanted: Classify, clock: Clock) -> Classified:
        """Read the text. Never raises for any text, nor for anything that a server does."""
        ...
