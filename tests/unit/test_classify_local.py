"""The local classifier on sentences that it has not seen."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dragoman_shop
from dragoman.classify import NOTHING, Classifier
from dragoman.classify.local import train
from dragoman.domain.nouns import Phrase, Policy, Registry, SkillSpec
from dragoman.skills import collect
from tests.unit.held_out import HELD_OUT, STRANGE

CLINC = Path(__file__).parents[2] / "../shared/data/intents/clinc150/data_full.json"
THRESHOLD = Policy().threshold
REGISTRY: Registry = {name: skill.spec for name, skill in collect(dragoman_shop).items()}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train(REGISTRY)


def assigned(classifier: Classifier, text: str) -> str | None:
    """What the core would assign; None where it asks again."""
    candidates = classifier.classify(text, "en")
    if not candidates or candidates[0].intent == NOTHING or candidates[0].confidence < THRESHOLD:
        return None
    return candidates[0].intent


def test_held_out_paraphrases_are_not_training_phrases() -> None:
    known = {phrase.text.casefold() for spec in REGISTRY.values() for phrase in spec.phrases}
    assert not known & {text.casefold() for texts in HELD_OUT.values() for text in texts}


def test_at_least_85_in_100_paraphrases_are_understood_and_hardly_any_is_mistaken(classifier: Classifier) -> None:
    read = [(intent, assigned(classifier, text)) for intent, texts in HELD_OUT.items() for text in texts]
    understood = sum(intent == got for intent, got in read)
    mistaken = [(intent, got) for intent, got in read if got not in (intent, None)]
    assert understood / len(read) >= 0.85
    assert len(mistaken) / len(read) <= 0.03, mistaken


def test_at_least_70_in_100_strange_messages_are_refused(classifier: Classifier) -> None:
    refused = [text for text in STRANGE if assigned(classifier, text) is None]
    assert len(refused) / len(STRANGE) >= 0.7


@pytest.mark.skipif(not CLINC.exists(), reason="the CLINC150 data set does not lie beside the checkout")
def test_out_of_scope_questions_of_a_public_data_set_are_refused(classifier: Classifier) -> None:
    strange = [text for text, _ in json.loads(CLINC.read_text())["oos_test"]]
    assert sum(assigned(classifier, text) is None for text in strange) / len(strange) >= 0.85


def test_spelling_case_and_accents_hardly_matter(classifier: Classifier) -> None:
    for text in ("WHERE IS MY PACKAGE???", "wheres my pakage", "donde esta mi pedido", "ou est ma commande"):
        assert assigned(classifier, text) == "orders.status"


@given(st.text(max_size=300))
def test_any_text_gives_ranked_candidates_with_confidence(text: str) -> None:
    candidates = _TRAINED.classify(text, "")
    assert len(candidates) <= 5
    confidences = [candidate.confidence for candidate in candidates]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)


_TRAINED = train({"a.b": SkillSpec(name="a.b", label="", version="1", phrases=(Phrase(text="pay now", locale="en"),))})


def test_one_skill_with_one_phrase_is_enough_to_begin() -> None:
    candidates = _TRAINED.classify("pay now", "en")
    assert candidates[0].intent == "a.b"
    assert candidates[0].confidence > THRESHOLD
    assert assigned(_TRAINED, "tell me a joke") is None


def test_without_phrases_nothing_is_guessed() -> None:
    assert train({}).classify("hello", "en") == ()


def test_the_same_registry_gives_the_same_version_and_answers(classifier: Classifier) -> None:
    again = train(dict(reversed(list(REGISTRY.items()))))
    assert again.version == classifier.version
    for text in (*STRANGE, "where is my order"):
        assert again.classify(text, "en") == classifier.classify(text, "en")


def test_another_phrase_gives_another_version(classifier: Classifier) -> None:
    name = "stores.hours"
    more = {**REGISTRY, name: SkillSpec(name=name, label="", version="9", phrases=(Phrase(text="x y", locale="en"),))}
    assert train(more).version != classifier.version


def test_a_text_is_read_in_a_small_part_of_the_time_that_training_takes() -> None:
    begun = time.process_time()
    classifier = train(REGISTRY)
    trained = time.process_time()
    texts = [text for texts in HELD_OUT.values() for text in texts]
    for text in texts:
        classifier.classify(text, "en")
    assert (time.process_time() - trained) / len(texts) < (trained - begun) / 50


def test_importing_the_package_does_not_load_the_heavy_libraries() -> None:
    code = (
        "import sys, dragoman.classify.local, dragoman.skills; print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
