"""How good the local classifier is on examples that it has not seen, and which examples stand in each other's way.

Pure functions of the examples; shares are between zero and one. They hold a core for as long as they take, so call them
in a thread: :func:`cross_validate` takes about five trainings, which is a minute for 13,000 examples with 150 intents,
and a second for the 700 of a small registry. :func:`competing_phrases` takes about half as long.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dragoman.classify import NOTHING, Classifier
from dragoman.classify.local import Example, answer_held_out, fit_confidence, prepare_examples, split_examples
from dragoman.classify.model import VIEWS, CountedTexts, chance_of, rows_of

MOST_CONFUSIONS = 200
MOST_TEXTS = 5
"""How many texts a confusion shows."""

USUAL_THRESHOLD = 0.5

STEPS = tuple(step / 20 for step in range(21))
REFUSALS = (0.005, 0.01, 0.015, *(share / 100 for share in range(2, 11)), *(share / 100 for share in range(12, 51, 2)))
"""The curve has a point at each of these thresholds, and where so many of the good questions are refused."""

LEAST_LIKENESS = 0.3
BLOCK = 256
"""How many phrases are compared with all others at once: what is in memory does not grow with their square."""


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An example and how it was answered; ``known`` is the likeliest intent that is not out of scope."""

    text: str
    wanted: str
    given: str
    known: str
    confidence: float


@dataclass(frozen=True, slots=True)
class IntentScore:
    """One intent: how many of those given to it are its own, and how many of its own are given to it.

    None where there is nothing to count: nothing was given to it, or its only example could not be held out.
    """

    intent: str
    examples: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """So many examples of one intent were given to another; with a few of their texts."""

    wanted: str
    given: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a threshold does: to good questions, to the answers that remain, and to what is out of scope.

    Shares are None where there is nothing to count.
    """

    threshold: float
    refused_share: float
    accuracy_of_answered: float | None
    out_of_scope_recall: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """How examples were answered.

    ``accuracy`` is the share of questions in scope that get the right intent when none is refused;
    ``out_of_scope_recall`` the share of what is out of scope that is refused at ``threshold``, None without such
    examples. Precision and recall of intents, and confusions, are those of the first answer, out of scope included.
    """

    examples: int
    folds: int
    accuracy: float
    out_of_scope_recall: float | None
    intents: tuple[IntentScore, ...]
    confusions: tuple[Confusion, ...]
    curve: tuple[CurvePoint, ...]
    seconds: float
    threshold: float = USUAL_THRESHOLD


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two phrases of different intents that are alike; one is the same in everything that the model sees."""

    text: str
    intent: str
    other_text: str
    other_intent: str
    likeness: float


def cross_validate(examples: Iterable[Example], *, folds: int = 5, threshold: float = USUAL_THRESHOLD) -> Scores:
    """Answer every example by a model that was trained without it and its part of the others.

    Deterministic, whatever the order. An intent's only example is trained on and not counted, since nothing could
    answer it. ``seconds`` is the processor's time in this thread.
    """
    begun = time.thread_time()
    texts = _texts_by_example(examples)
    known = prepare_examples(texts.values())
    counted = [CountedTexts.of([said for said, _ in known], read_features) for read_features in VIEWS]
    held_out = [
        (known[place], answer)
        for part in split_examples(known, max(2, folds))
        for place, answer in answer_held_out(counted, known, part)
    ]
    slope, offset = fit_confidence((wanted, answer) for (_, wanted), answer in held_out)
    answers = [
        ScoredAnswer(
            text=texts[example][0],
            wanted=example[1],
            given=answer.intent,
            known=answer.best_known,
            confidence=chance_of(answer.distance, slope, offset),
        )
        for example, answer in held_out
    ]
    return _score(
        answers,
        Counter(intent for _, intent in known),
        folds=folds,
        threshold=threshold,
        seconds=time.thread_time() - begun,
    )


def evaluate(classifier: Classifier, examples: Iterable[Example], *, threshold: float = USUAL_THRESHOLD) -> Scores:
    """Let *classifier* answer examples that it was not trained on; those without an answer count as out of scope."""
    begun = time.thread_time()
    given = list(examples)
    answers = []
    for text, wanted in given:
        candidates = classifier.classify(text, "")
        known = next((one.intent for one in candidates if one.intent != NOTHING), NOTHING)
        first, confidence = (candidates[0].intent, candidates[0].confidence) if candidates else (NOTHING, 0.0)
        answers.append(ScoredAnswer(text=text, wanted=wanted, given=first, known=known, confidence=confidence))
    return _score(
        answers,
        Counter(intent for _, intent in given),
        folds=1,
        threshold=threshold,
        seconds=time.thread_time() - begun,
    )


def threshold_for_refusals(scores: Scores, refused_share: float) -> float:
    """Find the threshold at which that share of good questions would be asked back; zero where more are anyhow."""
    before: CurvePoint | None = None
    for point in scores.curve:
        if point.refused_share > refused_share:
            if before is None:
                return 0.0
            share = (refused_share - before.refused_share) / (point.refused_share - before.refused_share)
            return before.threshold + share * (point.threshold - before.threshold)
        before = point
    return before.threshold if before else 0.0


def competing_phrases(examples: Iterable[Example], *, limit: int = 50) -> tuple[Conflict, ...]:
    """Find phrases of two intents that are alike, most alike first; each with the one that is most like it."""
    import numpy  # noqa: PLC0415 - slow to load, as the next one
    from scipy.sparse import hstack  # noqa: PLC0415

    texts = _texts_by_example(examples)
    known = prepare_examples(texts.values())
    if len({intent for _, intent in known}) < 2:
        return ()
    _, numbers = numpy.unique([intent for _, intent in known], return_inverse=True)
    rows = hstack(
        [rows_of(CountedTexts.of([said for said, _ in known], read_features)) * 0.5**0.5 for read_features in VIEWS]
    ).tocsr()
    found: dict[tuple[int, int], float] = {}
    for begin in range(0, len(known), BLOCK):
        likeness = (rows[begin : begin + BLOCK] @ rows.T).toarray()
        likeness[numbers[begin : begin + BLOCK][:, None] == numbers[None, :]] = 0.0
        nearest = likeness.argmax(axis=1).tolist()
        for place, other in enumerate(nearest, start=begin):
            alike = float(likeness[place - begin, other])
            if alike >= LEAST_LIKENESS:
                found[min(place, other), max(place, other)] = alike
    most_alike = sorted(found.items(), key=lambda pair: (-round(pair[1], 6), pair[0]))[:limit]
    return tuple(
        Conflict(*texts[known[one]], *texts[known[other]], likeness=round(min(1.0, alike), 4))
        for (one, other), alike in most_alike
    )


def to_json(scores: Scores) -> dict[str, Any]:
    """Give *scores* as plain JSON types."""
    return asdict(scores)


def from_json(data: Mapping[str, Any]) -> Scores:
    """Read what :func:`to_json` gave, after a way through JSON."""
    return Scores(
        **{
            **data,
            "intents": tuple(IntentScore(**one) for one in data["intents"]),
            "confusions": tuple(Confusion(**{**one, "examples": tuple(one["examples"])}) for one in data["confusions"]),
            "curve": tuple(CurvePoint(**one) for one in data["curve"]),
        }
    )


def _texts_by_example(examples: Iterable[Example]) -> dict[Example, Example]:
    """Examples as they were written, by how the model reads them; of several the first in the alphabet."""
    found: dict[Example, Example] = {}
    for text, intent in sorted(set(examples)):
        for prepared in prepare_examples([(text, intent)]):
            found.setdefault(prepared, (text, intent))
    return found


def _score(
    answers: Sequence[ScoredAnswer], examples: Counter[str], *, folds: int, threshold: float, seconds: float
) -> Scores:
    in_scope = [answer for answer in answers if answer.wanted != NOTHING]
    outside = [answer for answer in answers if answer.wanted == NOTHING]
    return Scores(
        examples=examples.total(),
        folds=folds,
        accuracy=_share(sum(answer.known == answer.wanted for answer in in_scope), len(in_scope)) or 0.0,
        out_of_scope_recall=_share(sum(_is_refused(answer, threshold) for answer in outside), len(outside)),
        intents=_intent_scores(answers, examples),
        confusions=_confusions(answers),
        curve=_curve(in_scope, outside),
        seconds=seconds,
        threshold=threshold,
    )


def _is_refused(answer: ScoredAnswer, threshold: float) -> bool:
    return answer.given == NOTHING or answer.confidence < threshold


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _intent_scores(answers: Sequence[ScoredAnswer], examples: Counter[str]) -> tuple[IntentScore, ...]:
    wanted = Counter(answer.wanted for answer in answers)
    given = Counter(answer.given for answer in answers)
    right = Counter(answer.wanted for answer in answers if answer.given == answer.wanted)
    return tuple(
        IntentScore(
            intent=intent,
            examples=examples[intent],
            precision=_share(right[intent], given[intent]),
            recall=_share(right[intent], wanted[intent]),
        )
        for intent in sorted(examples)
    )


def _confusions(answers: Sequence[ScoredAnswer]) -> tuple[Confusion, ...]:
    mistaken: dict[tuple[str, str], list[ScoredAnswer]] = {}
    for answer in answers:
        if answer.given != answer.wanted:
            mistaken.setdefault((answer.wanted, answer.given), []).append(answer)
    most_frequent = sorted(mistaken.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:MOST_CONFUSIONS]
    return tuple(
        Confusion(
            wanted=wanted,
            given=given,
            count=len(those),
            # The surest mistakes first: they tell most about the examples.
            examples=tuple(
                one.text for one in sorted(those, key=lambda answer: (-answer.confidence, answer.text))[:MOST_TEXTS]
            ),
        )
        for (wanted, given), those in most_frequent
    )


def _curve(in_scope: Sequence[ScoredAnswer], outside: Sequence[ScoredAnswer]) -> tuple[CurvePoint, ...]:
    # What is given to "out of scope" is refused at any threshold.
    sure = sorted(-1.0 if answer.given == NOTHING else answer.confidence for answer in in_scope)
    thresholds = set(STEPS)
    if sure:
        thresholds |= {max(0.0, round(sure[int(share * len(sure))], 6)) for share in REFUSALS}
    return tuple(_curve_point(threshold, in_scope, outside) for threshold in sorted(thresholds))


def _curve_point(threshold: float, in_scope: Sequence[ScoredAnswer], outside: Sequence[ScoredAnswer]) -> CurvePoint:
    answered = [answer for answer in in_scope if not _is_refused(answer, threshold)]
    return CurvePoint(
        threshold=threshold,
        refused_share=_share(len(in_scope) - len(answered), len(in_scope)) or 0.0,
        accuracy_of_answered=_share(sum(answer.given == answer.wanted for answer in answered), len(answered)),
        out_of_scope_recall=_share(sum(_is_refused(answer, threshold) for answer in outside), len(outside)),
    )
