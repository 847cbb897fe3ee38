"""The trained model: what it takes, what it answers to any text, what its confidence means, how large it is."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest
from bench import classifier as bench
from hypothesis import given
from hypothesis import strategies as st

import dragoman_shop
from dragoman.classify import NOTHING
from dragoman.classify.features import MAX_CHARACTERS, piece_features, prepare, word_features
from dragoman.classify.local import (
    Example,
    LocalClassifier,
    split_examples,
    train,
    train_examples,
    training_examples,
)
from dragoman.classify.model import LEAST_SLOPE, MANY_EXAMPLES, chance_of, fit_chances
from dragoman.classify.scores import evaluate, threshold_for_refusals
from dragoman.domain.nouns import Registry
from dragoman.skills import collect
from tests.unit.made_up_questions import EXAMPLES, QUESTIONS

REGISTRY: Registry = {name: skill.spec for name, skill in collect(dragoman_shop).items()}
TRAINED = train_examples(EXAMPLES)

HOSTILE = (
    "", " ", "\n", "?!", "😀" * 500, "👍", "a" * 100_000, "ab " * 50_000, "\u0301" * 3000, "é\u0301\u0323" * 500,
    "\ud800", "\x00", "ﷺ" * 2000, "漢字" * 1000, "१२३", "0" * 5000, "\u202eabc", "~_~ ^ $", "_" * 1000, "where~is _my_",
)  # fmt: skip


def best(classifier: LocalClassifier, text: str) -> tuple[str, float]:
    candidate = classifier.classify(text, "")[0]
    return candidate.intent, candidate.confidence


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_answered_and_trained_on(text: str) -> None:
    for classifier in (TRAINED, train_examples([*QUESTIONS[:8], (text, "a.b"), (f"{text} x", "a.c")])):
        candidates = classifier.classify(text, "")
        confidences = [candidate.confidence for candidate in candidates]
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) <= 1.001
        assert len({candidate.intent for candidate in candidates}) == len(candidates)


@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["a.b", "c.d", NOTHING])), max_size=8), st.text())
def test_any_few_examples_make_a_classifier(examples: list[Example], text: str) -> None:
    classifier = train_examples(examples)
    confidences = [candidate.confidence for candidate in classifier.classify(text, "")]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_the_order_of_the_examples_and_their_repetition_change_nothing() -> None:
    shuffled = random.Random(5).sample(EXAMPLES, len(EXAMPLES))
    again = train_examples([*shuffled, *shuffled[:20]])
    assert again.version == TRAINED.version
    for text, _ in EXAMPLES:
        assert again.classify(text, "") == TRAINED.classify(text, "")


def test_two_intents_are_told_apart() -> None:
    classifier = train_examples([("pay my bill", "a.pay"), ("open the shop", "b.open")])
    assert best(classifier, "I pay the bill")[0] == "a.pay"
    assert best(classifier, "the shop is open")[0] == "b.open"


def test_one_intent_alone_is_known_from_what_is_unknown() -> None:
    classifier = train_examples([("pay my bill", "a.pay"), ("settle the bill", "a.pay")])
    assert best(classifier, "pay my bill")[0] == "a.pay"
    assert best(classifier, "pay my bill")[1] > 0.5
    assert best(classifier, "qqq zzz")[0] == NOTHING or best(classifier, "qqq zzz")[1] < 0.5


def test_out_of_scope_alone_teaches_nothing() -> None:
    assert train_examples([("tell me a joke", NOTHING)]).classify("tell me a joke", "") == ()


def test_more_texts_out_of_scope_are_refused_from_then_on() -> None:
    text = "is there parking for a bus"
    before = train(REGISTRY).classify(text, "en")[0]
    examples = [*training_examples(REGISTRY), (text, NOTHING), ("can I park a bus here", NOTHING)]
    after = train_examples(examples).classify("is there a parking place for our bus", "en")[0]
    assert before.intent != NOTHING or before.confidence < after.confidence
    assert after.intent == NOTHING


def test_a_registry_is_trained_by_its_examples() -> None:
    assert train_examples(training_examples(REGISTRY)).version == train(REGISTRY).version
    assert {NOTHING, *(spec.name for spec in REGISTRY.values() if spec.phrases)} == {
        intent for _, intent in training_examples(REGISTRY)
    }
    assert training_examples({}) == ()


def test_what_is_mostly_unknown_is_less_sure() -> None:
    known, padded = "where is my parcel", "where is my parcel zorgle frumious bandersnatch quuxly vorpal"
    assert best(TRAINED, padded)[1] < best(TRAINED, known)[1]


def test_features_do_not_depend_on_what_follows_the_cut() -> None:
    assert prepare("ab " * MAX_CHARACTERS) == prepare("ab " * MAX_CHARACTERS + "x" * 50_000)
    assert len(prepare("ﷺ" * MAX_CHARACTERS)) <= MAX_CHARACTERS
    long = prepare("a " * MAX_CHARACTERS)
    assert len(list(word_features(long))) + len(list(piece_features(long))) < 20 * MAX_CHARACTERS
    assert list(word_features("")) == list(piece_features("")) == []


def test_every_example_but_an_intents_only_one_is_held_out_once() -> None:
    known = [*EXAMPLES, ("alone", "z.single")]
    parts = split_examples(known, 5)
    assert sorted(place for part in parts for place in part) == list(range(len(EXAMPLES)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_chances_are_found_again() -> None:
    chance = random.Random(3)
    distances = [chance.uniform(-1, 1) for _ in range(5000)]
    slope, offset = fit_chances([(one, chance.random() < chance_of(one, 3.0, -0.5)) for one in distances])
    assert slope == pytest.approx(3.0, abs=0.4)
    assert offset == pytest.approx(-0.5, abs=0.2)


@pytest.mark.parametrize("right", [True, False])
def test_chances_stay_moderate_where_all_answers_were_right_or_wrong(right: bool) -> None:
    slope, offset = fit_chances([(0.5, right)] * 40)
    assert slope > 0
    assert 0.001 < chance_of(0.5, slope, offset) < 0.999


def test_confidence_never_falls_with_distance_however_the_examples_contradict() -> None:
    """Where the nearest examples are the ones that were wrong, a strange text would be as sure as any."""
    chance = random.Random(4)
    distances = [chance.uniform(-0.5, 0.5) for _ in range(500)]
    answers = [(one, chance.random() < 0.6 - one) for one in distances]
    slope, offset = fit_chances(answers)
    assert slope == LEAST_SLOPE
    assert chance_of(-1.0, slope, offset) < 0.3
    said = sum(chance_of(one, slope, offset) for one in distances) / len(distances)
    assert said == pytest.approx(sum(right for _, right in answers) / len(answers), abs=0.03)


def test_confidence_means_what_it_says_on_questions_that_were_held_out() -> None:
    """Of many answers at about one confidence that share is right; the words are noisy so that many are wrong."""
    chance = random.Random(11)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [["".join(chance.choices(letters, k=6)) for _ in range(6)] for _ in range(8)]

    def question(intent: int) -> str:
        own = [intent, intent, *(chance.randrange(8) for _ in range(5))]
        return " ".join(chance.choice(words[one]) for one in chance.sample(own, len(own)))

    drawn = [(question(intent), f"a.i{intent}") for intent in range(8) for _ in range(200)]
    chance.shuffle(drawn)
    classifier = train_examples(drawn[:1200])
    answers = [(*best(classifier, text), wanted) for text, wanted in drawn[1200:]]
    said = sum(confidence for _, confidence, _ in answers) / len(answers)
    right = sum(given == wanted for given, _, wanted in answers) / len(answers)
    assert right < 0.97
    assert said == pytest.approx(right, abs=0.08)


def test_the_model_grows_with_its_examples_and_not_with_features_times_eight_bytes() -> None:
    assert 0 < TRAINED.size_bytes < 2_000_000
    examples = [(f"w{number} w{number + 1} question {number % 40}", f"a.i{number % 40}") for number in range(3200)]
    assert train_examples(examples).size_bytes < 15_000_000
    assert train_examples([]).size_bytes == 0


def test_the_size_is_what_the_model_takes_in_memory() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        classifier = train_examples(EXAMPLES)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.7 * taken < classifier.size_bytes < 1.3 * taken


def test_many_examples_without_a_common_feature_are_learnt() -> None:
    letters = [chr(0x4E00 + number) for number in range(6002)]
    examples = [
        (f"{one}{two}", f"a.i{number % 2}")
        for number, (one, two) in enumerate(zip(letters[::2], letters[1::2], strict=True))
    ]
    classifier = train_examples(examples)
    assert len(examples) > MANY_EXAMPLES
    assert [best(classifier, text)[0] for text, _ in examples[:50]] == [intent for _, intent in examples[:50]]


@pytest.mark.skipif(not bench.DATA.is_dir(), reason="the public data sets do not lie beside the checkout")
def test_ten_questions_of_each_intent_of_a_public_data_set_go_a_long_way() -> None:
    classifier = train_examples(bench.draw_shots(bench.banking("train"), seed=7))
    test = bench.banking("test")[::4]
    assert evaluate(classifier, test).accuracy > 0.7


@pytest.mark.skipif(not bench.DATA.is_dir(), reason="the public data sets do not lie beside the checkout")
def test_a_refusal_budget_leaves_most_questions_answered_and_finds_most_that_is_out_of_scope() -> None:
    wanted = set(sorted({intent for _, intent in bench.clinc("train")})[::5]) | {NOTHING}

    def some(*parts: str) -> list[Example]:
        return [example for example in bench.clinc(*parts) if example[1] in wanted]

    classifier = train_examples(some("train", "oos_train"))
    threshold = threshold_for_refusals(evaluate(classifier, some("val")), 0.05)
    answered, refused = bench.at_threshold(classifier, some("test", "oos_test"), threshold)
    assert answered > 88
    assert refused > 70
