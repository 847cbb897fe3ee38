"""The trained model: how texts become numbers, how it is fitted, and how likely each intent is.

scikit-learn and scipy are imported when the first model is fitted, because they take about a second to load. A single
text is read with numpy alone. Decision page: 0052.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.classify import NOTHING
from dragoman.classify.features import piece_features, word_features

VIEWS: tuple[Callable[[str], Iterable[str]], ...] = (word_features, piece_features)
"""The two views of a text; each has as much to say as the other."""

MANY_EXAMPLES = 3000
"""From so many examples on, a feature that occurs in one of them only is left out: it costs memory and says nothing."""

PENALTY = 1.0
TOWARDS_EXAMPLES = 3.0
"""How much dearer it is to miss an intent's own example than to take another's for it, the sizes of both apart."""

TOLERANCE = 0.05
"""How exactly the borders are fitted; finer, down to a five-hundredth of it, is no better and takes longer."""

UNKNOWN_WEIGHT = 0.5
"""What a feature that no example has adds to the square of a text's length: an unknown text has little to say."""

USUAL_SLOPE, USUAL_OFFSET = 5.0, 1.5
"""Turn a distance into a chance where there is nothing to measure it by; as found with the demo's skills."""

LEAST_SLOPE = 2.0
"""However little distances say of the examples that were held out: a text of strange words is never as sure as they."""

USUAL_COUNT = 10.0
"""How many examples the usual slope and offset count for, beside those that were held out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Says the nearest intent, its distance, and the nearest that is not out of scope."""

    intent: str
    distance: float
    best_known: str


@dataclass(frozen=True, slots=True)
class View:
    """One view of a text, and what each of its features says for each intent, in 255 steps."""

    read_features: Callable[[str], Iterable[str]]
    places: dict[str, int]
    telling: Any
    steps: Any
    step_sizes: Any

    @property
    def size_bytes(self) -> int:
        """How much memory the numbers and the features' names take."""
        names = sys.getsizeof(self.places) + sum(
            sys.getsizeof(feature) + sys.getsizeof(place) for feature, place in self.places.items()
        )
        return int(names + self.telling.nbytes + self.steps.nbytes + self.step_sizes.nbytes)

    def distances(self, said: str) -> Any:
        """The distances that this view adds for each intent; a text that is mostly unknown has little to say."""
        counts = Counter(self.read_features(said))
        known = [(place, count) for feature, count in counts.items() if (place := self.places.get(feature)) is not None]
        if not known:
            return 0.0
        places = [place for place, _ in known]
        values = self.telling[places] * [1.0 + math.log(count) for _, count in known]
        length = math.sqrt(float(values @ values) + UNKNOWN_WEIGHT * (len(counts) - len(known)))
        if not length:
            return 0.0
        return (values * self.step_sizes[places] * (1.0 / length)) @ self.steps[places]


@dataclass(frozen=True, slots=True)
class Model:
    """Holds a trained model as plain numbers; ``slope`` and ``offset`` turn a distance into a chance."""

    intents: tuple[str, ...]
    views: tuple[View, ...]
    base: Any
    slope: float = USUAL_SLOPE
    offset: float = USUAL_OFFSET

    def distances(self, said: str) -> Any:
        """How far *said* lies on each intent's side of its border; negative on the other side."""
        return sum((view.distances(said) for view in self.views), start=self.base)

    @property
    def size_bytes(self) -> int:
        """How much memory the model takes."""
        return sum(view.size_bytes for view in self.views) + int(self.base.nbytes)

    def answer(self, said: str) -> Answer:
        """Find the nearest intent."""
        distances = self.distances(said)
        best = int(distances.argmax())
        intent = best_known = self.intents[best]
        if intent == NOTHING:
            second = max((place for place in range(len(self.intents)) if place != best), key=distances.__getitem__)
            best_known = self.intents[second]
        return Answer(intent, float(distances[best]), best_known)

    def rank(self, said: str) -> list[tuple[str, float]]:
        """Give all intents with their chances, likeliest first.

        The first one's chance goes by its distance alone: that many of a hundred such answers are right. What is left
        is shared among the others.
        """
        distances = self.distances(said).tolist()
        order = sorted(range(len(distances)), key=lambda place: (-distances[place], self.intents[place]))
        first, *others = order
        chance = chance_of(distances[first], self.slope, self.offset)
        powers = [math.exp(self.slope * (distances[place] - distances[first])) for place in others]
        left = (1.0 - chance) / (sum(powers) or 1.0)
        ranked = [(self.intents[first], chance)]
        for place, power in zip(others, powers, strict=True):
            ranked.append((self.intents[place], min(chance, left * power)))
        return ranked


def chance_of(distance: float, slope: float, offset: float) -> float:
    """Turn a distance into a chance between zero and one."""
    return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, slope * distance + offset))))


def fit_chances(answers: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Find slope and offset from distances of held-out answers and whether they were right."""
    import numpy  # noqa: PLC0415

    usual = numpy.linspace(-1.0, 1.0, 21)
    distances = numpy.concatenate([usual, [distance for distance, _ in answers]])
    wanted = numpy.concatenate(
        [[chance_of(distance, USUAL_SLOPE, USUAL_OFFSET) for distance in usual], [float(right) for _, right in answers]]
    )
    counted = numpy.concatenate([numpy.full(len(usual), USUAL_COUNT / len(usual)), numpy.ones(len(answers))])
    always = numpy.ones_like(distances)
    start = numpy.array([USUAL_SLOPE, USUAL_OFFSET])
    slope, offset = _fit_logistic(numpy.column_stack([distances, always]), 0.0, wanted, counted, start)
    if slope < LEAST_SLOPE:
        slope = LEAST_SLOPE
        (offset,) = _fit_logistic(always[:, None], slope * distances, wanted, counted, start[1:])
    return float(slope), float(offset)


def _fit_logistic(inputs: Any, fixed: Any, wanted: Any, counted: Any, start: Any) -> Any:
    """Fit factors of *inputs* by Newton's method, so that with *fixed* added the chances come near *wanted*."""
    import numpy  # noqa: PLC0415

    found = start
    for _ in range(50):
        chances = 1.0 / (1.0 + numpy.exp(-numpy.clip(inputs @ found + fixed, -30.0, 30.0)))
        curvature = (inputs * (counted * chances * (1.0 - chances))[:, None]).T @ inputs
        step = numpy.linalg.solve(curvature + 1e-6 * numpy.eye(len(found)), inputs.T @ (counted * (chances - wanted)))
        # A step is kept short: far from the end it could jump over it.
        found = found - step / max(1.0, float(numpy.abs(step).max()) / 2.0)
        if float(numpy.abs(step).max()) < 1e-6:
            break
    return found


@dataclass(frozen=True, slots=True)
class CountedTexts:
    """Holds texts as one row each of counted features, for one view."""

    places: dict[str, int]
    counts: Any

    @classmethod
    def of(cls, texts: Sequence[str], read_features: Callable[[str], Iterable[str]]) -> CountedTexts:
        """Count the features of *texts*; places are given in order of appearance."""
        import numpy  # noqa: PLC0415 - slow to load, as the next one
        from scipy.sparse import csr_matrix  # noqa: PLC0415

        places: dict[str, int] = {}
        columns: list[int] = []
        counted: list[int] = []
        ends = [0]
        for text in texts:
            counts = Counter(read_features(text))
            columns.extend([places.setdefault(feature, len(places)) for feature in counts])
            counted.extend(counts.values())
            ends.append(len(columns))
        data = numpy.asarray(counted, dtype=numpy.float64)
        return cls(places, csr_matrix((data, columns, ends), shape=(len(texts), len(places))))

    def choose_rows(self, rows: Any) -> CountedTexts:
        """Some of the texts only; features that none of them has stay."""
        return CountedTexts(self.places, self.counts[rows])


def rows_of(counted: CountedTexts) -> Any:
    """Give texts as rows of length one, rare features weighing more; two rows' product says how alike they are."""
    import numpy  # noqa: PLC0415
    from scipy.sparse import diags  # noqa: PLC0415

    counts = counted.counts.copy()
    examples, features = counts.shape
    rarity = numpy.log((1 + examples) / (1 + numpy.bincount(counts.indices, minlength=features))) + 1.0
    counts.data = 1.0 + numpy.log(counts.data)
    return _with_length_one(counts @ diags(rarity))


def _with_length_one(rows: Any) -> Any:
    import numpy  # noqa: PLC0415
    from scipy.sparse import diags  # noqa: PLC0415

    lengths = numpy.sqrt(numpy.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return (diags(1.0 / numpy.where(lengths > 0, lengths, 1.0)) @ rows).tocsr()


def fit(counted: Sequence[CountedTexts], intents: Sequence[str]) -> Model:
    """Fit borders between the intents; *counted* has one entry for each of :data:`VIEWS`."""
    import numpy  # noqa: PLC0415
    from scipy.sparse import diags, hstack  # noqa: PLC0415
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    names, numbers = numpy.unique(numpy.asarray(intents, dtype=object), return_inverse=True)
    least = 2 if len(intents) >= MANY_EXAMPLES else 1
    matrices, kept_places, telling = [], [], []
    for texts in counted:
        occurrences = numpy.bincount(texts.counts.indices, minlength=len(texts.places))
        kept = numpy.flatnonzero(occurrences >= min(least, occurrences.max(initial=1)))
        counts = texts.counts[:, kept]
        weights = _telling(counts, numbers, len(names))
        counts.data = 1.0 + numpy.log(counts.data)
        matrices.append(_with_length_one(counts @ diags(weights)))
        kept_places.append(kept)
        telling.append(weights.astype(numpy.float32))
    sizes = numpy.bincount(numbers)
    # Many intents with few examples are usual here. Ignored for good, since a block that ignores is not thread-safe.
    warnings.filterwarnings("ignore", message="The number of unique classes is greater than", category=UserWarning)
    dearer = {number: TOWARDS_EXAMPLES * len(numbers) / (len(names) * size) for number, size in enumerate(sizes)}
    linear = LinearSVC(C=PENALTY, class_weight=dearer, random_state=0, tol=TOLERANCE)
    linear.fit(hstack(matrices).tocsr(), numbers)
    weights, base = linear.coef_.T, linear.intercept_
    if len(names) == 2:
        # With two intents there is one border only: what speaks for the second speaks against the first.
        weights, base = numpy.hstack([-weights, weights]), numpy.concatenate([-base, base])
    parts = numpy.split(weights, [matrices[0].shape[1]])
    views = [
        _view(texts.places, kept, weights, part, view)
        for view, texts, kept, weights, part in zip(VIEWS, counted, kept_places, telling, parts, strict=True)
    ]
    return Model(tuple(str(name) for name in names), tuple(views), base)


def _telling(counts: Any, numbers: Any, intents: int) -> Any:
    """How telling each feature is: one if a single intent has it, nothing if all have it alike."""
    import numpy  # noqa: PLC0415
    from scipy.sparse import csr_matrix, diags  # noqa: PLC0415

    examples = len(numbers)
    members = csr_matrix((numpy.ones(examples), (numbers, numpy.arange(examples))), shape=(intents, examples))
    present = counts.copy()
    present.data = numpy.ones_like(present.data)
    shares = (diags(1.0 / numpy.bincount(numbers, minlength=intents)) @ members @ present).tocsc()
    totals = numpy.asarray(shares.sum(axis=0)).ravel()
    shares.data = shares.data / numpy.repeat(totals, numpy.diff(shares.indptr))
    shares.data = -shares.data * numpy.log(shares.data)
    disorder = numpy.asarray(shares.sum(axis=0)).ravel() / math.log(max(intents, 2))
    return numpy.sqrt(numpy.clip(1.0 - disorder, 0.0, 1.0))


def _view(
    places: dict[str, int], kept: Any, telling: Any, weights: Any, read_features: Callable[[str], Iterable[str]]
) -> View:
    import numpy  # noqa: PLC0415

    new_places = numpy.full(len(places), -1)
    new_places[kept] = numpy.arange(len(kept))
    step_sizes = numpy.abs(weights).max(axis=1, initial=0.0) / 127
    steps = numpy.rint(weights / numpy.where(step_sizes > 0, step_sizes, 1.0)[:, None]).astype(numpy.int8)
    return View(
        read_features=read_features,
        places={feature: place for feature, place in zip(places, new_places.tolist(), strict=True) if place >= 0},
        telling=telling,
        steps=steps,
        step_sizes=step_sizes.astype(numpy.float32),
    )
