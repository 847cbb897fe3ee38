"""Classifiers: what does a text want, as ranked candidates with confidence.

Rules stand in :mod:`dragoman.dispatch.words`; :mod:`~dragoman.classify.local` is trained on the skills' phrases.
"""

from __future__ import annotations

from typing import Protocol

from dragoman.domain.events import Candidate


class Classifier(Protocol):
    """Reads a text. ``version`` changes whenever the same text could be read differently."""

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
