"""The local classifier on two public collections of questions: trained on their training part, reported on their test.

BANKING77 with all its training examples, and with ten of each intent; CLINC150 with nothing refused, and with the
threshold at which 5 % of the questions in scope of its *validation* part are refused. Nothing is tuned on a test part,
and one configuration, the shipped one, serves all. The limits are what version 1 reached. The data lies
beside the project, and is no part of it (CC BY 4.0 and CC BY 3.0); without it the benchmark says so and is left out.
"""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness import Result, compare, percentile
from dragoman.classify import NOTHING
from dragoman.classify.local import Example, LocalClassifier, train_examples
from dragoman.classify.scores import evaluate, threshold_for_refusals

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "intents"
SHOTS, DRAWS = 10, 5
REFUSED = 0.05

BANKING_LIMIT, SHOTS_LIMIT, CLINC_LIMIT, ANSWERED_LIMIT, OUTSIDE_LIMIT = 91.4, 74.1, 92.8, 90.2, 79.6
TRAINING_LIMIT_S, READING_LIMIT_MS, MEMORY_LIMIT_MB = 30.0, 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Trained:
    """A classifier with the seconds of one core that it took to train."""

    classifier: LocalClassifier
    seconds: float


def banking(part: str) -> list[Example]:
    """Read a part of BANKING77."""
    with (DATA / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc(*parts: str) -> list[Example]:
    """Read parts of CLINC150; what it calls ``oos`` is out of scope."""
    data = json.loads((DATA / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    return [(text, NOTHING if intent == "oos" else intent) for part in parts for text, intent in data[part]]


def draw_shots(examples: Sequence[Example], seed: int) -> list[Example]:
    """Draw ten examples of each intent."""
    chance = random.Random(seed)
    by_intent: dict[str, list[Example]] = {}
    for example in examples:
        by_intent.setdefault(example[1], []).append(example)
    return [one for intent in sorted(by_intent) for one in chance.sample(by_intent[intent], SHOTS)]


def train_timed(examples: Sequence[Example]) -> Trained:
    """Train, by the processor's clock: liblinear uses one core."""
    begun = time.process_time()
    classifier = train_examples(examples)
    return Trained(classifier, time.process_time() - begun)


def reading_times(classifier: LocalClassifier, examples: Sequence[Example]) -> list[float]:
    """Milliseconds of one core for each text."""
    taken = []
    for text, _ in examples:
        begun = time.thread_time()
        classifier.classify(text, "en")
        taken.append((time.thread_time() - begun) * 1000)
    return taken


def at_threshold(classifier: LocalClassifier, examples: Sequence[Example], threshold: float) -> tuple[float, float]:
    """Percent of questions in scope that are answered rightly, and of those out of scope that are refused."""
    right = refused = inside = 0
    for text, wanted in examples:
        best = classifier.classify(text, "en")[:1]
        given = best[0].intent if best and best[0].confidence >= threshold else NOTHING
        inside += wanted != NOTHING
        right += given == wanted != NOTHING
        refused += given == wanted == NOTHING
    return 100 * right / inside, 100 * refused / (len(examples) - inside)


def _accuracy(name: str, ours: Sequence[float], limit: float, note: str = "") -> Result:
    return compare(
        f"classifier: {name}",
        unit="%",
        ours=[sum(ours) / len(ours)],
        peer=[limit],
        peer_name="limit",
        higher_is_better=True,
        note=note,
    )


def _limited(name: str, unit: str, ours: float, limit: float, note: str = "") -> Result:
    return compare(f"classifier: {name}", unit=unit, ours=[ours], peer=[limit], peer_name="limit", note=note)


def _measure(draws: int) -> list[Result]:
    train, test = banking("train"), banking("test")
    whole = train_timed(train).classifier
    results = [_accuracy("BANKING77, all training examples", [100 * evaluate(whole, test).accuracy], BANKING_LIMIT)]
    few = [100 * evaluate(train_examples(draw_shots(train, seed)), test).accuracy for seed in range(1, draws + 1)]
    spread = f"mean of {draws} draws, {min(few):.1f} to {max(few):.1f}"
    results.append(_accuracy(f"BANKING77, {SHOTS} of each intent", few, SHOTS_LIMIT, spread))
    trained = train_timed(clinc("train", "oos_train"))
    classifier, examples = trained.classifier, clinc("test", "oos_test")
    results.append(
        _accuracy("CLINC150 in scope, none refused", [100 * evaluate(classifier, examples).accuracy], CLINC_LIMIT)
    )
    threshold = threshold_for_refusals(evaluate(classifier, clinc("val")), REFUSED)
    answered, refused = at_threshold(classifier, examples, threshold)
    note = f"threshold {threshold:.3f}, at which {REFUSED:.0%} of the validation part are refused"
    times = reading_times(classifier, examples)
    return [
        *results,
        _accuracy("CLINC150 in scope, 5 % refused", [answered], ANSWERED_LIMIT, note),
        _accuracy("CLINC150 out of scope, 5 % refused", [refused], OUTSIDE_LIMIT, note),
        _limited(
            "reading a text, p50", "ms", percentile(times, 0.5), READING_LIMIT_MS, f"p95 {percentile(times, 0.95):.2f}"
        ),
        _limited("training, 15,100 examples of 151 intents", "s", trained.seconds, TRAINING_LIMIT_S, "of one core"),
        _limited("memory of the trained model", "MB", classifier.size_bytes / 1e6, MEMORY_LIMIT_MB),
    ]


async def run(*, quick: bool) -> list[Result]:
    """Measure in a minute, with fewer draws in half of it."""
    if not DATA.is_dir():
        print(f"classifier: left out, since there is no data in {DATA}")
        return []
    return _measure(2 if quick else DRAWS)
