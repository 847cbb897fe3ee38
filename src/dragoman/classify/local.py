"""A classifier that learns from the skills' phrases in well under a second and reads a text in a millisecond.

Words (alone and in pairs) and pieces of words, weighed by how telling they are, go into a linear model; pieces of
words carry over inflections, spelling mistakes and, among languages with Latin letters, related words. What no skill
is meant to answer is one more intent, learnt from :mod:`~dragoman.classify.small_talk`.
scikit-learn is imported when the first model is trained, because it takes about a second to load; a single text is
then read without it, because its checks of the input take longer than the reading.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dragoman.classify import Classifier
from dragoman.classify.small_talk import OUT_OF_SCOPE
from dragoman.dispatch.words import tokens
from dragoman.domain.events import Candidate
from dragoman.domain.nouns import Registry

NAME = "local"
NOTHING = "out_of_scope"

CODE_VERSION = 1
"""Grows with every change to this module or its small talk that may change an answer."""

TOP = 5
"""How many candidates stand on the record."""

MAX_CHARACTERS = 1000
"""No wish needs more; a longer text is read from its beginning."""

SHARPNESS = 4.0
"""Turns distances from the model's borders into chances (softmax of their multiple).

Found on held-out paraphrases of the demo's skills: nine in ten are understood at a threshold of 0.5, and of a
thousand strange English questions nine in ten are refused; 3 understands fewer, 5 refuses fewer.
"""


@dataclass(frozen=True, slots=True)
class _Features:
    """One of the model's two views of a text, and what each of its features says for each intent."""

    analyse: Callable[[str], list[str]]
    vocabulary: dict[str, int]
    rarity: Any
    weights: Any

    def votes(self, said: str) -> Any:
        """The distances that this view adds; the same numbers as scikit-learn's own TF-IDF would give."""
        counts = Counter(index for feature in self.analyse(said) if (index := self.vocabulary.get(feature)) is not None)
        if not counts:
            return 0.0
        indices = list(counts)
        values = self.rarity[indices] * [1.0 + math.log(count) for count in counts.values()]
        return (values / math.sqrt(float(values @ values))) @ self.weights[indices]


@dataclass(frozen=True, slots=True)
class _Model:
    """A trained model as plain numbers."""

    intents: tuple[str, ...]
    features: tuple[_Features, ...]
    base: Any

    def chances(self, said: str) -> list[float]:
        """How likely each of :attr:`intents` is; they add up to one."""
        distances = [float(d) for d in sum((part.votes(said) for part in self.features), start=self.base)]
        highest = max(distances)
        powers = [math.exp(SHARPNESS * (distance - highest)) for distance in distances]
        return [power / sum(powers) for power in powers]


class LocalClassifier:
    """Classifies with a trained model. Immutable; may be used from several threads."""

    def __init__(self, version: str, model: _Model | None) -> None:
        self._version = version
        self._model = model

    @property
    def name(self) -> str:
        """Which kind of classifier this is."""
        return NAME

    @property
    def version(self) -> str:
        """Twelve characters that stand for the code and the phrases it was trained on."""
        return self._version

    def classify(self, text: str, locale: str) -> tuple[Candidate, ...]:  # noqa: ARG002 - one model reads all
        """Give the five likeliest intents, best first; see :class:`~dragoman.classify.Classifier`."""
        said = _prepared(text)
        if self._model is None or not said:
            return ()
        ranked = sorted(
            zip(self._model.chances(said), self._model.intents, strict=True), key=lambda pair: (-pair[0], pair[1])
        )
        return tuple(Candidate(intent=intent, confidence=round(c, 4)) for c, intent in ranked[:TOP])


def train(registry: Registry) -> Classifier:
    """Learn the phrases of every skill, retired ones included: what is wanted must be known to be refused.

    Deterministic: the same registry gives the same model and version.
    """
    examples = sorted(
        {(said, spec.name) for spec in registry.values() for p in spec.phrases if (said := _prepared(p.text))}
    )
    nothing = sorted({(_prepared(text), NOTHING) for texts in OUT_OF_SCOPE.values() for text in texts})
    version = _version((*examples, *nothing))
    if not examples:
        return LocalClassifier(version, None)
    return LocalClassifier(version, _fitted([*examples, *nothing]))


def _fitted(examples: list[tuple[str, str]]) -> _Model:
    import numpy  # noqa: PLC0415 - slow to load, as the next ones
    from scipy.sparse import hstack  # noqa: PLC0415
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    texts, intents = zip(*examples, strict=True)
    views = [
        TfidfVectorizer(analyzer="word", token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True),  # noqa: S106
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    ]
    matrices = [view.fit_transform(texts) for view in views]
    linear = LinearSVC(C=1.0, class_weight="balanced", random_state=0)
    linear.fit(hstack(matrices).tocsr(), intents)
    weights, base = linear.coef_, linear.intercept_
    if len(linear.classes_) == 2:
        # With two classes there is one border only: what speaks for the second speaks against the first.
        weights, base = numpy.vstack([-weights, weights]), numpy.concatenate([-base, base])
    first, second = numpy.split(weights.T, [matrices[0].shape[1]])
    return _Model(
        intents=tuple(str(intent) for intent in linear.classes_),
        features=tuple(
            _Features(view.build_analyzer(), dict(view.vocabulary_), view.idf_, numpy.ascontiguousarray(part))
            for view, part in zip(views, (first, second), strict=True)
        ),
        base=base,
    )


def _prepared(text: str) -> str:
    """The words alone, lower case and without accents; digits become zeros, since no number names a wish."""
    return " ".join(
        "".join("0" if letter.isdigit() else letter for letter in word) for word in tokens(text[:MAX_CHARACTERS])
    )


def _version(examples: Iterable[tuple[str, str]]) -> str:
    data = json.dumps([CODE_VERSION, list(examples)], ensure_ascii=False)
    return hashlib.sha256(data.encode()).hexdigest()[:12]
