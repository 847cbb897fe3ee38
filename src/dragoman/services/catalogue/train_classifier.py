"""Measure the local classifier, try its next version on what was really written, and put it live.

The next version is taught what skills and flows bring along now, and the phrases that wait. Training and measuring take
a processor for seconds and run in a thread, outside of any transaction. Transactions: one to read, one to write.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.classify import Classifier, local, scores
from dragoman.classify.scores import Conflict, Scores
from dragoman.dispatch.effects import Classify
from dragoman.dispatch.understand import OUT_OF_SCOPE as NOTHING_MEANT
from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.events import Candidate
from dragoman.domain.nouns import Registry
from dragoman.domain.questions import OUT_OF_SCOPE
from dragoman.ledger.read_usage import ClassifiedMessage, classified_messages
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.catalogue.change_policy import change_policy
from dragoman.services.dispatching.classify_text import classify_text
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import classifiers, phrases, skills
from dragoman.store.catalogue.classifiers import ClassifierVersion
from dragoman.translations import deferred

TRIED_DAYS = 7
MOST_TRIED = 5000
"""How many messages a version is tried on, the latest ones."""

MOST_SHOWN = 100
"""How many messages that would be read otherwise are told one by one."""

REFUSAL_BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""Shares of good questions that may be asked back, to choose from."""

LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.05, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredVersion:
    """Is a version with its scores and with the phrases that two skills compete for."""

    version: str
    phrases: int
    trained_at: datetime
    scores: Scores
    conflicts: tuple[Conflict, ...]
    live_at: datetime | None
    live_by: str

    @classmethod
    def of(cls, found: ClassifierVersion) -> MeasuredVersion | None:
        """Read what is kept of a version; None for one without scores."""
        if found.scores is None:
            return None
        return cls(
            version=found.version,
            phrases=found.phrases,
            trained_at=found.trained_at,
            scores=scores.from_json(found.scores["scores"]),
            conflicts=tuple(Conflict(**one) for one in found.scores["conflicts"]),
            live_at=found.live_at,
            live_by=found.live_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedReading:
    """A message that the next version reads otherwise; an intent of None is "not understood"."""

    message: ClassifiedMessage
    before: str | None
    before_confidence: float
    after: str | None
    after_confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the next version would change in the messages of the last days.

    ``newly_understood`` and the others count all that change; ``changed`` has the first :data:`MOST_SHOWN` of them.
    """

    live_version: str
    next_version: str
    messages: int
    newly_understood: int
    no_longer_understood: int
    other_intent: int
    changed: tuple[ChangedReading, ...]

    @property
    def unchanged(self) -> int:
        """How many messages are read as before."""
        return self.messages - self.newly_understood - self.no_longer_understood - self.other_intent


async def vocabulary_of(runtime: Runtime, tenant_id: UUID, *, wanted: bool) -> Registry:
    """What the live version was taught, or with *wanted* what the next one is to be."""
    async with runtime.database.tenant(tenant_id) as connection:
        if wanted:
            return await skills.wanted_vocabulary(connection, tenant_id)
        return (await skills.dispatch_rules(connection, tenant_id)).vocabulary


async def measure_version(runtime: Runtime, tenant_id: UUID, *, wanted: bool = False) -> MeasuredVersion:
    """Train and measure the live version, or the next one, unless that was done; it is registered with its scores.

    Where the registry has brought another version live, that is noted.
    """
    vocabulary = await vocabulary_of(runtime, tenant_id, wanted=wanted)
    version = await asyncio.to_thread(local.version_of, vocabulary)
    async with runtime.database.tenant(tenant_id) as connection:
        known = await classifiers.get(connection, tenant_id, local.NAME, version)
        latest = await classifiers.latest_live(connection, tenant_id, local.NAME)
    measured = None if known is None else MeasuredVersion.of(known)
    is_new = not wanted and (latest is None or latest.version != version)
    if measured is not None and not is_new:
        return measured
    kept = None if known is None else known.scores
    if kept is None:
        async with runtime.training_slots:
            kept = await asyncio.to_thread(_measure, vocabulary)
    now = runtime.clock.now()
    found = ClassifierVersion(
        classifier=local.NAME,
        version=version,
        trained_at=now if known is None else known.trained_at,
        phrases=sum(len(spec.phrases) for spec in vocabulary.values()),
        scores=kept,
        live_at=now if is_new else None,
    )
    async with runtime.database.tenant(tenant_id) as connection:
        await classifiers.register(connection, tenant_id, found)
        registered = await classifiers.get(connection, tenant_id, local.NAME, version)
    measured = None if registered is None else MeasuredVersion.of(registered)
    assert measured is not None  # noqa: S101 - it was written just now
    return measured


def _measure(vocabulary: Registry) -> dict[str, Any]:
    examples = local.training_examples(vocabulary)
    return {
        "scores": scores.to_json(scores.cross_validate(examples)),
        "conflicts": [
            {"text": c.text, "intent": c.intent, "other_text": c.other_text, "other_intent": c.other_intent,
             "likeness": c.likeness}
            for c in scores.competing_phrases(examples)
        ],
    }  # fmt: skip


async def measure_live_version(runtime: Runtime, tenant_id: UUID) -> bool:
    """Measure the live version where that was not done; False without phrases, since there is nothing to measure."""
    vocabulary = await vocabulary_of(runtime, tenant_id, wanted=False)
    if not any(spec.phrases for spec in vocabulary.values()):
        return False
    await measure_version(runtime, tenant_id)
    return True


async def measured_live(runtime: Runtime, tenant_id: UUID) -> MeasuredVersion | None:
    """The live version with its scores; None where it has not been measured yet."""
    vocabulary = await vocabulary_of(runtime, tenant_id, wanted=False)
    version = await asyncio.to_thread(local.version_of, vocabulary)
    async with runtime.database.tenant(tenant_id) as connection:
        known = await classifiers.get(connection, tenant_id, local.NAME, version)
    return None if known is None else MeasuredVersion.of(known)


class _Recorded:
    """Answers what was answered before, by text."""

    def __init__(self, name: str, version: str, answers: Mapping[str, tuple[Candidate, ...]]) -> None:
        self.name, self.version, self._answers = name, version, answers

    def classify(self, text: str, locale: str) -> tuple[Candidate, ...]:  # noqa: ARG002 - the interface's
        return self._answers.get(text, ())


async def evaluate_on(
    runtime: Runtime, tenant_id: UUID, examples: Sequence[tuple[str, str]]
) -> tuple[str, int, Scores]:
    """Let what the tenant chose read *examples* (text, intent); its version, how many phrases it knows, its scores.

    Where a language model fails, what read in its place counts. The scores of a language model are kept.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        rules = await skills.dispatch_rules(connection, tenant_id)
    answers: dict[str, tuple[Candidate, ...]] = {}
    names: Counter[tuple[str, str]] = Counter()
    for text, _ in examples:
        if text not in answers:
            found = await classify_text(runtime, tenant_id, rules, Classify(text=text, locale="en"))
            answers[text] = found.candidates
            names[found.classifier, found.classifier_version] += 1
    (name, version), _ = names.most_common(1)[0]
    measured = scores.evaluate(_Recorded(name, version, answers), examples, threshold=rules.policy.threshold)
    phrases_known = sum(len(spec.phrases) for spec in rules.vocabulary.values())
    if name != local.NAME:
        now = runtime.clock.now()
        kept = ClassifierVersion(
            classifier=name, version=version, trained_at=now, phrases=phrases_known, live_at=now,
            scores={"scores": scores.to_json(measured), "conflicts": []},
        )  # fmt: skip
        async with runtime.database.tenant(tenant_id) as connection:
            await classifiers.register(connection, tenant_id, kept)
    return version, phrases_known, measured


async def try_next_version(runtime: Runtime, tenant_id: UUID, *, days: int = TRIED_DAYS) -> Trial:
    """Read the messages of the last *days* with the live version and with the next one, and compare."""
    live = await vocabulary_of(runtime, tenant_id, wanted=False)
    wanted = await vocabulary_of(runtime, tenant_id, wanted=True)
    async with runtime.database.tenant(tenant_id) as connection:
        threshold = (await skills.dispatch_rules(connection, tenant_id)).policy.threshold
        since = runtime.clock.now() - timedelta(days=days)
        messages = await classified_messages(connection, tenant_id, since=since, limit=MOST_TRIED)
    async with runtime.training_slots:
        return await asyncio.to_thread(_try, live, wanted, messages, threshold)


def _try(live: Registry, wanted: Registry, messages: Sequence[ClassifiedMessage], threshold: float) -> Trial:
    old, new = local.train(live), local.train(wanted)
    changed: list[ChangedReading] = []
    counts = {"newly": 0, "no_longer": 0, "other": 0}
    for message in messages:
        before, before_confidence = _reading(old, message.text, threshold)
        after, after_confidence = _reading(new, message.text, threshold)
        if before == after:
            continue
        counts["newly" if before is None else "no_longer" if after is None else "other"] += 1
        if len(changed) < MOST_SHOWN:
            changed.append(
                ChangedReading(
                    message=message,
                    before=before,
                    before_confidence=before_confidence,
                    after=after,
                    after_confidence=after_confidence,
                )
            )
    return Trial(
        live_version=old.version,
        next_version=new.version,
        messages=len(messages),
        newly_understood=counts["newly"],
        no_longer_understood=counts["no_longer"],
        other_intent=counts["other"],
        changed=tuple(changed),
    )


def _reading(classifier: Classifier, text: str, threshold: float) -> tuple[str | None, float]:
    candidates = classifier.classify(text, "")
    if not candidates:
        return None, 0.0
    best = candidates[0]
    understood = best.intent not in NOTHING_MEANT and best.confidence >= threshold
    return best.intent if understood else None, best.confidence


async def put_live(runtime: Runtime, tenant_id: UUID, by: Administrator, *, version: str = "") -> str:
    """Teach the classifier the phrases that wait, from the next message on; its version.

    With *version* only if that is still the next one. Raises ChangeRefusedError where nothing waits.
    """
    wanted = await vocabulary_of(runtime, tenant_id, wanted=True)
    following = await asyncio.to_thread(local.version_of, wanted)
    if version and version != following:
        raise ChangeRefusedError(deferred("Phrases have changed since your test. Test the next version again."))
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        waiting = [one for one in await phrases.list_all(connection, tenant_id) if one.waits]
        if not waiting:
            raise ChangeRefusedError(deferred("There are no changes: the live version includes all phrases."))
        await phrases.put_live(connection, tenant_id)
        now = runtime.clock.now()
        found = ClassifierVersion(
            classifier=local.NAME,
            version=following,
            trained_at=now,
            phrases=sum(len(spec.phrases) for spec in wanted.values()),
            live_at=now,
            live_by=by.name,
        )
        await classifiers.register(connection, tenant_id, found)
        await put_on_record(
            runtime, connection, tenant_id, "classifier.put_live", following, object_kind="classifier", by=by,
            after={
                "version": following,
                "added": phrases.on_record(one for one in waiting if one.is_wanted),
                "removed": phrases.on_record(one for one in waiting if not one.is_wanted),
            },
        )  # fmt: skip
    return following


def threshold_of(found: Scores, share: float) -> float:
    """The threshold at which about *share* of good questions are asked back, as policies have it."""
    return round(min(max(scores.threshold_for_refusals(found, share), LOWEST_THRESHOLD), HIGHEST_THRESHOLD), 3)


def refused_at(found: Scores, threshold: float) -> float:
    """The share of good questions that are asked back at about that threshold."""
    return max((point.refused_share for point in found.curve if point.threshold <= threshold), default=0.0)


async def set_refusal_budget(runtime: Runtime, tenant_id: UUID, by: Administrator, share: float) -> float:
    """Set the threshold at which about *share* of good questions are asked back; the threshold.

    Raises ChangeRefusedError for a share that is none, or that cannot be had.
    """
    if not 0 < share < 1:
        raise ChangeRefusedError(
            deferred("The share of valid questions the bot may ask again must be between 0 and 1.")
        )
    found = (await measure_version(runtime, tenant_id)).scores
    if not found.curve or not any(one.recall is not None for one in found.intents if one.intent != OUT_OF_SCOPE):
        raise ChangeRefusedError(deferred("There are too few phrases to measure. Add several to every skill."))
    least = refused_at(found, 0.0)
    if share <= least:
        raise ChangeRefusedError(
            deferred(
                "At any threshold %(least)s of good questions are taken for out of scope. "
                "Choose a larger share, or add phrases.",
                least=format(least, ".0%"),
            )
        )
    threshold = threshold_of(found, share)
    await change_policy(runtime, tenant_id, by, lambda policy: replace(policy, threshold=threshold))
    return threshold
