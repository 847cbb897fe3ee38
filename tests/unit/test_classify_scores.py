"""Scores of examples that were held out: counted right, the same each time, and whole after a way through JSON."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.classify import NOTHING, Classifier
from dragoman.classify.local import Example, train_examples
from dragoman.classify.scores import (
    MOST_CONFUSIONS,
    MOST_TEXTS,
    CurvePoint,
    Scores,
    competing_phrases,
    cross_validate,
    evaluate,
    from_json,
    threshold_for_refusals,
    to_json,
)
from dragoman.domain.events import Candidate
from tests.unit.made_up_questions import EXAMPLES, OUTSIDE, QUESTIONS

SCORES = cross_validate(EXAMPLES)


class ScriptedClassifier:
    """Answers as it is told: ``intent confidence`` in the text, the first one first."""

    name = version = "scripted"

    def classify(self, text: str, locale: str) -> tuple[Candidate, ...]:
        words = text.split()
        assert locale == ""
        return tuple(
            Candidate(intent=intent, confidence=float(confidence))
            for intent, confidence in zip(words[::2], words[1::2], strict=True)
        )


SCRIPTED: Classifier = ScriptedClassifier()
ANSWERS: list[Example] = [
    ("a 0.9 b 0.1", "a"),
    ("a 0.8 b 0.2", "a"),
    ("b 0.6 a 0.4", "a"),
    ("b 0.7", "b"),
    ("out_of_scope 0.7 b 0.2", "b"),
    ("a 0.3", NOTHING),
    ("a 0.85", NOTHING),
    ("out_of_scope 0.4", NOTHING),
    ("", NOTHING),
]


def without_time(scores: Scores) -> dict[str, object]:
    return {name: value for name, value in to_json(scores).items() if name != "seconds"}


def test_what_is_counted() -> None:
    scores = evaluate(SCRIPTED, ANSWERS)
    assert scores.examples == 9
    assert scores.accuracy == 4 / 5, "a question that was given to out of scope counts by its best intent"
    assert scores.out_of_scope_recall == 3 / 4, "refused are those below 0.5, without an answer, or given to it"
    assert [(one.intent, one.examples, one.precision, one.recall) for one in scores.intents] == [
        ("a", 3, 2 / 4, 2 / 3),
        ("b", 2, 1 / 2, 1 / 2),
        (NOTHING, 4, 2 / 3, 2 / 4),
    ]
    assert [(one.wanted, one.given, one.count, one.examples) for one in scores.confusions] == [
        (NOTHING, "a", 2, ("a 0.85", "a 0.3")),
        ("a", "b", 1, ("b 0.6 a 0.4",)),
        ("b", NOTHING, 1, ("out_of_scope 0.7 b 0.2",)),
    ]


def test_what_a_threshold_does() -> None:
    curve = {point.threshold: point for point in evaluate(SCRIPTED, ANSWERS).curve}
    assert curve[0.0] == CurvePoint(0.0, 1 / 5, 3 / 4, 2 / 4)
    assert curve[0.65] == CurvePoint(0.65, 2 / 5, 1.0, 3 / 4)
    assert curve[1.0] == CurvePoint(1.0, 1.0, None, 1.0)
    assert evaluate(SCRIPTED, ANSWERS, threshold=0.2).out_of_scope_recall == 2 / 4


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2, 0.5, 0.9])
def test_a_refusal_budget_is_kept_and_used(share: float) -> None:
    sure = [number / 1000 for number in range(1000)]
    examples = [(f"a {confidence}", "a") for confidence in sure]
    threshold = threshold_for_refusals(evaluate(SCRIPTED, examples), share)
    refused = sum(confidence < threshold for confidence in sure) / len(sure)
    assert share - 0.02 <= refused <= share + 0.02


def test_a_budget_that_is_spent_without_a_threshold_gives_none() -> None:
    assert threshold_for_refusals(evaluate(SCRIPTED, [("out_of_scope 0.9", "a"), ("a 0.9", "a")]), 0.05) == 0.0
    assert threshold_for_refusals(evaluate(SCRIPTED, []), 0.05) == 1.0


def test_held_out_questions_are_mostly_answered() -> None:
    assert SCORES.examples == len(EXAMPLES)
    assert SCORES.accuracy > 0.85
    assert SCORES.out_of_scope_recall is not None
    assert SCORES.folds == 5
    assert {one.intent: one.examples for one in SCORES.intents}[NOTHING] == len(OUTSIDE)


def test_the_same_examples_in_another_order_give_the_same_scores() -> None:
    shuffled = random.Random(2).sample(EXAMPLES, len(EXAMPLES))
    assert without_time(cross_validate(shuffled)) == without_time(SCORES)


def test_an_example_is_not_answered_by_itself() -> None:
    """Words that occur once cannot be known when they are held out."""
    chance = random.Random(1)
    examples = [("".join(chance.choices("abcdefghijklmnop", k=9)), f"a.i{number % 4}") for number in range(40)]
    assert cross_validate(examples).accuracy < 0.6
    assert evaluate(train_examples(examples), examples).accuracy > 0.9


def test_curves_rise() -> None:
    refused = [point.refused_share for point in SCORES.curve]
    thresholds = [point.threshold for point in SCORES.curve]
    assert refused == sorted(refused)
    assert thresholds == sorted(set(thresholds))
    assert 20 <= len(thresholds) <= 60


def test_scores_survive_json() -> None:
    for scores in (SCORES, cross_validate([]), cross_validate([("a", "b.c")])):
        assert from_json(json.loads(json.dumps(to_json(scores)))) == scores


@pytest.mark.parametrize(
    "examples",
    [
        [],
        [("", "a.b")],
        [("hello", "a.b")],
        [("hello", NOTHING)],
        [("hello", "a.b"), ("hello there", "a.b")],
        [("hello", "a.b"), ("bye", "c.d")],
        [("hello", "a.b"), ("hello", "c.d")],
        [("hello", "a.b"), ("hello you", "a.b"), ("bye", "c.d")],
        [("😀", "a.b"), ("\u0301", "a.b"), ("x" * 100_000, "c.d"), ("\ud800", "c.d"), ("a" * 5000, "c.d")],
    ],
    ids=range(9),
)
def test_few_and_strange_examples_are_scored(examples: list[Example]) -> None:
    scores = cross_validate(examples)
    assert 0 <= scores.accuracy <= 1
    assert threshold_for_refusals(scores, 0.05) >= 0
    competing_phrases(examples)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=12), st.sampled_from(["a.b", "c.d", NOTHING])), max_size=10))
def test_any_examples_are_scored(examples: list[Example]) -> None:
    scores = cross_validate(examples, folds=3)
    assert from_json(json.loads(json.dumps(to_json(scores)))) == scores


def test_an_intents_only_example_is_trained_on_and_not_counted() -> None:
    scores = cross_validate([*EXAMPLES, ("open sesame", "cave.open")])
    (alone,) = (one for one in scores.intents if one.intent == "cave.open")
    assert (alone.examples, alone.recall) == (1, None)
    assert scores.examples == len(EXAMPLES) + 1


def test_confusions_are_bounded_and_show_a_few_texts() -> None:
    examples = [(f"w{number}", f"a.i{number % 30}") for number in range(600)]
    confusions = cross_validate(examples, folds=2).confusions
    assert len(confusions) <= MOST_CONFUSIONS
    assert [one.count for one in confusions] == sorted((one.count for one in confusions), reverse=True)
    assert all(0 < len(one.examples) <= MOST_TEXTS for one in confusions)


def test_phrases_of_two_intents_that_are_alike_are_found_most_alike_first() -> None:
    planted = [("Where is my LAMP?", "support.broken"), ("when will the kettle arrive", "products.price")]
    found = competing_phrases([*QUESTIONS, *planted], limit=5)
    assert len(found) == 5
    assert (found[0].likeness, {found[0].text, found[0].other_text}) == (1.0, {"Where is my LAMP?", "where is my lamp"})
    assert {found[0].intent, found[0].other_intent} == {"support.broken", "orders.status"}
    assert [one.likeness for one in found] == sorted((one.likeness for one in found), reverse=True)
    assert all(one.intent != one.other_intent for one in found)
    assert len({frozenset((one.text, one.other_text)) for one in found}) == 5
    assert found == competing_phrases(reversed([*QUESTIONS, *planted]), limit=5)


def test_phrases_that_have_nothing_in_common_do_not_compete() -> None:
    assert competing_phrases([("pay bill", "a.b"), ("zoo xylophone", "c.d")]) == ()


def test_scoring_takes_about_as_long_as_training_for_each_part() -> None:
    def seconds(call: object) -> float:
        assert callable(call)
        taken = []
        for _ in range(3):
            begun = time.process_time()
            call()
            taken.append(time.process_time() - begun)
        return min(taken)

    assert seconds(lambda: cross_validate(EXAMPLES)) < 10 * seconds(lambda: train_examples(EXAMPLES))
