"""Read how the classifier stands: its live version with its scores, what waits for the next one, earlier versions.

Transactions: two that only read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.questions import OUT_OF_SCOPE
from dragoman.runtime import Runtime
from dragoman.services.catalogue import train_classifier
from dragoman.services.catalogue.train_classifier import MeasuredVersion
from dragoman.store.catalogue import classifiers, phrases, skills
from dragoman.store.catalogue.classifiers import ClassifierVersion
from dragoman.store.catalogue.phrases import AddedPhrase


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierState:
    """How the local classifier of a tenant stands.

    ``measured`` is the live version, None where it has not been measured. ``refused_share`` is the share of good
    questions that are asked back at the policy's ``threshold``, ``budgets`` the shares that can be had, each with its
    threshold. ``labels`` are those of all that can be wanted, by name.
    """

    measured: MeasuredVersion | None
    waiting: list[AddedPhrase]
    versions: list[ClassifierVersion]
    threshold: float
    labels: Mapping[str, str]

    @property
    def refused_share(self) -> float | None:
        """The share of good questions that are asked back; None where that was not measured."""
        return None if self.measured is None else train_classifier.refused_at(self.measured.scores, self.threshold)

    @property
    def budgets(self) -> list[tuple[float, float]]:
        """Each share of good questions that may be asked back, with the threshold that comes to it.

        Shares that no threshold comes to, since more are taken for out of scope, are left out.
        """
        if self.measured is None:
            return []
        found = self.measured.scores
        least = train_classifier.refused_at(found, 0.0)
        shares = [share for share in train_classifier.REFUSAL_BUDGETS if share > least]
        return [(share, train_classifier.threshold_of(found, share)) for share in shares]


async def read_classifier(runtime: Runtime, tenant_id: UUID) -> ClassifierState:
    """Read how the classifier of a tenant stands."""
    measured = await train_classifier.measured_live(runtime, tenant_id)
    async with runtime.database.tenant(tenant_id) as connection:
        rules = await skills.dispatch_rules(connection, tenant_id)
        added = await phrases.list_all(connection, tenant_id)
        versions = await classifiers.list_all(connection, tenant_id)
    return ClassifierState(
        measured=measured,
        waiting=[one for one in added if one.waits],
        versions=versions,
        threshold=rules.policy.threshold,
        labels={name: spec.label for name, spec in rules.vocabulary.items()} | {OUT_OF_SCOPE: "Out of scope"},
    )
