"""A classifier that learns from the skills' phrases in under a second and reads a text in a fraction of a millisecond.

What a text says (:mod:`~dragoman.classify.features`) goes into a linear model (:mod:`~dragoman.classify.model`). What
no skill is meant to answer is one more intent, learnt from :mod:`~dragoman.classify.small_talk` and from whatever texts
are marked as out of scope. How sure an answer is was measured on examples that the model had not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dragoman.bounded import reads_outside_text
from dragoman.classify import NOTHING, TOP, Classifier
from dragoman.classify.features import prepare
from dragoman.classify.model import VIEWS, Answer, CountedTexts, Model, fit, fit_chances
from dragoman.classify.small_talk import OUT_OF_SCOPE
from dragoman.domain.events import Candidate
from dragoman.domain.nouns import Registry

NAME = "local"

Example = tuple[str, str]
"""A text and its intent; :data:`~dragoman.classify.NOTHING` for what is out of scope."""

CODE_VERSION = 2
"""Grows with every change to this package that may change an answer."""

PARTS = ((1500, 5), (4000, 3))
"""Up to so many examples each is held out once, in so many parts."""

PARTS_OF_MANY = 5
"""Of more examples one such part is held out, so that training takes less than twice as long."""

STRANGE_COUNT = 3
"""What is out of scope counts so many times when confidence is measured: people write more of it than anybody lists."""


class LocalClassifier:
    """Classifies with a trained model. Immutable; may be used from several threads."""

    def __init__(self, version: str, model: Model | None) -> None:
        self._version = version
        self._model = model

    @property
    def name(self) -> str:
        """Which kind of classifier this is."""
        return NAME

    @property
    def version(self) -> str:
        """Twelve characters that stand for the code and the examples it was trained on."""
        return self._version

    @property
    def size_bytes(self) -> int:
        """How much memory the trained model holds."""
        return self._model.size_bytes if self._model else 0

    @reads_outside_text
    def classify(self, text: str, locale: str) -> tuple[Candidate, ...]:  # noqa: ARG002 - one model reads all
        """Give the five likeliest intents, best first; see :class:`~dragoman.classify.Classifier`."""
        said = prepare(text)
        if self._model is None or not said:
            return ()
        return tuple(
            Candidate(intent=intent, confidence=round(chance, 4)) for intent, chance in self._model.rank(said)[:TOP]
        )


def training_examples(registry: Registry) -> tuple[Example, ...]:
    """Give the phrases of every skill, retired ones included, and the small talk that none of them is to answer.

    Retired skills are among them since what is wanted must be known to be refused. Without phrases there are none.
    """
    phrases = tuple((phrase.text, spec.name) for spec in registry.values() for phrase in spec.phrases)
    if not any(prepare(text) for text, _ in phrases):
        return ()
    return (*phrases, *((text, NOTHING) for texts in OUT_OF_SCOPE.values() for text in texts))


def train(registry: Registry) -> Classifier:
    """Learn the phrases of the skills in *registry*; the same registry gives the same model and version."""
    return train_examples(training_examples(registry))


def version_of(registry: Registry) -> str:
    """Say which version :func:`train` would give, without training it."""
    return _version(prepare_examples(training_examples(registry)))


def train_examples(examples: Iterable[Example]) -> LocalClassifier:
    """Learn from *examples*, in any order; texts without a word are left out.

    Takes about a quarter of a second for 600 examples, and about twenty seconds for 15,000 with 150 intents. Where all
    is out of scope nothing is known, and nothing will be answered.
    """
    known = prepare_examples(examples)
    version = _version(known)
    intents_known = {intent for _, intent in known}
    if not intents_known - {NOTHING}:
        return LocalClassifier(version, None)
    if len(intents_known) == 1:
        # A border needs two sides: a text that says nothing stands for all that is not the one intent.
        known = [*known, ("", NOTHING)]
    counted = [CountedTexts.of([said for said, _ in known], read_features) for read_features in VIEWS]
    intents = [intent for _, intent in known]
    slope, offset = fit_confidence(
        (intents[place], answer)
        for held_out in _held_out_parts(known)
        for place, answer in answer_held_out(counted, known, held_out)
    )
    return LocalClassifier(version, replace(fit(counted, intents), slope=slope, offset=offset))


def prepare_examples(examples: Iterable[Example]) -> list[Example]:
    """Give each example once, as the model reads it, in an order that does not depend on theirs."""
    return sorted({(said, intent) for text, intent in examples if (said := prepare(text))})


def split_examples(known: Sequence[Example], parts: int) -> list[list[int]]:
    """Deal the places of *known* to *parts*, each intent's evenly; an intent's only example is in none of them."""
    by_intent: dict[str, list[int]] = {}
    for place, (_, intent) in enumerate(known):
        by_intent.setdefault(intent, []).append(place)
    dealt: list[list[int]] = [[] for _ in range(parts)]
    turn = 0
    for places in by_intent.values():
        if len(places) < 2:
            continue
        # By digest, since neighbours in the alphabet are alike.
        for place in sorted(
            places, key=lambda place: hashlib.sha256(known[place][0].encode("utf-8", "replace")).digest()
        ):
            dealt[turn % parts].append(place)
            turn += 1
    return [sorted(part) for part in dealt if part]


def answer_held_out(
    counted: Sequence[CountedTexts], known: Sequence[Example], held_out: Sequence[int]
) -> Iterator[tuple[int, Answer]]:
    """Fit a model to all but *held_out*, and give its answer to each of these, with the example's place."""
    out = set(held_out)
    rest = [place for place in range(len(known)) if place not in out]
    if len({known[place][1] for place in rest}) < 2:
        return
    model = fit([texts.choose_rows(rest) for texts in counted], [known[place][1] for place in rest])
    for place in held_out:
        yield place, model.answer(known[place][0])


def fit_confidence(answers: Iterable[tuple[str, Answer]]) -> tuple[float, float]:
    """Find slope and offset of a model's confidence, from what held-out examples wanted and were answered."""
    return fit_chances(
        [
            (answer.distance, answer.intent == wanted)
            for wanted, answer in answers
            if answer.intent != NOTHING
            for _ in range(STRANGE_COUNT if wanted == NOTHING else 1)
        ]
    )


def _held_out_parts(known: Sequence[Example]) -> list[list[int]]:
    for most, parts in PARTS:
        if len(known) <= most:
            return split_examples(known, parts)
    return split_examples(known, PARTS_OF_MANY)[:1]


def _version(examples: Sequence[Example]) -> str:
    data = json.dumps([CODE_VERSION, examples])
    return hashlib.sha256(data.encode()).hexdigest()[:12]
