"""Serves ``/api/v1/classifier``: versions of the local classifier with their scores, the next one, and its phrases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.classify import scores
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.services.catalogue import train_classifier
from dragoman.services.catalogue.read_classifier import ClassifierState, read_classifier
from dragoman.services.catalogue.train_classifier import TRIED_DAYS, ChangedReading, Trial
from dragoman.services.insights.answer_questions import add_phrases, remove_phrases
from dragoman.services.visibility import Visibility
from dragoman.store.catalogue.classifiers import ClassifierVersion
from dragoman.store.catalogue.phrases import AddedPhrase
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import StrictQuery, given_once
from dragoman.web.api.insights import AddedPhrases, PhrasesOrder
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.classifier_trial import trial_for
from dragoman.web.http.dependencies import RuntimeDependency

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]

router = APIRouter(prefix="/api/v1/classifier", tags=["classifier"])


class WaitingPhraseResource(BaseModel):
    """Describes a phrase that the next version is taught, or taught no more."""

    phrase_id: UUID
    intent: str = Field(description="A skill, a flow, or out_of_scope")
    text: str
    locale: str
    added_at: datetime
    added_by: str
    removed: bool = Field(description="It is removed with the next version")

    @classmethod
    def of(cls, found: AddedPhrase, seen: Visibility) -> Self:
        """Show *found* to those who see what *seen* says."""
        return cls(
            phrase_id=found.phrase_id, intent=found.intent, text=seen.typed(found.text), locale=found.locale,
            added_at=found.added_at, added_by=found.added_by, removed=not found.is_wanted,
        )  # fmt: skip


class ClassifierVersionResource(BaseModel):
    """Describes a version of a classifier."""

    classifier: str
    version: str
    trained_at: datetime
    phrases: int
    live_at: datetime | None = Field(description="When it last went live; null if never")
    live_by: str = Field(description="Empty if the registry has changed since")
    accuracy: float | None = Field(description="On phrases it was not trained on; null if not measured")

    @classmethod
    def of(cls, found: ClassifierVersion) -> Self:
        """Show *found*."""
        return cls(
            classifier=found.classifier, version=found.version, trained_at=found.trained_at, phrases=found.phrases,
            live_at=found.live_at, live_by=found.live_by,
            accuracy=found.scores["scores"]["accuracy"] if found.scores else None,
        )  # fmt: skip


class ConflictResource(BaseModel):
    """Names two phrases of different intents that are alike."""

    text: str
    intent: str
    other_text: str
    other_intent: str
    likeness: float


class MeasurementResource(BaseModel):
    """Says how good a version is, by phrases that were left out when it was trained."""

    version: str
    scores: dict[str, Any] = Field(description="Accuracy, intents with precision and recall, confusions, curve")
    conflicts: list[ConflictResource] = Field(description="Conflicting phrases of two skills, most similar first")


class ClassifierResource(BaseModel):
    """Says how the local classifier stands."""

    live: MeasurementResource | None = Field(description="Null if the live version has not been measured")
    threshold: float
    refused_share: float | None = Field(description="Share of valid questions the bot asks again at this threshold")
    waiting: list[WaitingPhraseResource]
    versions: list[ClassifierVersionResource]

    @classmethod
    def of(cls, found: ClassifierState, seen: Visibility) -> Self:
        """Show *found* to those who see what *seen* says."""
        measured = found.measured
        return cls(
            live=None if measured is None else MeasurementResource(
                version=measured.version,
                scores=scores.to_json(measured.scores),
                conflicts=[
                    ConflictResource(
                        text=one.text, intent=one.intent, other_text=one.other_text, other_intent=one.other_intent,
                        likeness=one.likeness,
                    )
                    for one in measured.conflicts
                ],
            ),
            threshold=found.threshold,
            refused_share=found.refused_share,
            waiting=[WaitingPhraseResource.of(one, seen) for one in found.waiting],
            versions=[ClassifierVersionResource.of(one) for one in found.versions],
        )  # fmt: skip


class ChangedReadingResource(BaseModel):
    """Shows a message that the next version reads otherwise; an intent of null is "not understood"."""

    session_id: UUID
    message_id: UUID
    text: str
    before: str | None
    before_confidence: float
    after: str | None
    after_confidence: float

    @classmethod
    def of(cls, found: ChangedReading) -> Self:
        """Show *found*."""
        return cls(
            session_id=found.message.session_id, message_id=found.message.message_id, text=found.message.text,
            before=found.before, before_confidence=found.before_confidence, after=found.after,
            after_confidence=found.after_confidence,
        )  # fmt: skip


class TrialResource(BaseModel):
    """Says what the next version would change in what was written lately."""

    live_version: str
    next_version: str
    messages: int
    newly_understood: int
    no_longer_understood: int
    other_intent: int
    changed: list[ChangedReadingResource] = Field(description="The first hundred")

    @classmethod
    def of(cls, found: Trial) -> Self:
        """Show *found*."""
        return cls(
            live_version=found.live_version, next_version=found.next_version, messages=found.messages,
            newly_understood=found.newly_understood, no_longer_understood=found.no_longer_understood,
            other_intent=found.other_intent, changed=[ChangedReadingResource.of(one) for one in found.changed],
        )  # fmt: skip


class TrialQuery(StrictQuery):
    """Says of which messages a trial is."""

    days: int = Field(TRIED_DAYS, ge=1, le=90, description="How many past days to test on")


class LiveOrder(BaseModel):
    """Asks for the next version to go live."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field("", max_length=40, description="Only if this is still the next version")


class LiveVersion(BaseModel):
    """Names the version that reads every message from now on."""

    version: str


class RefusalBudget(BaseModel):
    """Says which share of good questions may be asked back."""

    model_config = ConfigDict(extra="forbid")

    refused_share: float = Field(gt=0, lt=1)


class ThresholdResource(BaseModel):
    """Says how sure a guess must be from the next message on."""

    threshold: float


@router.get("", responses=problems_of(401, 403))
async def show_classifier(identity: Reader, runtime: RuntimeDependency) -> ClassifierResource:
    """Show the live version with its scores, what waits for the next one, and the versions before."""
    return ClassifierResource.of(await read_classifier(runtime, identity.tenant_id), identity.visibility)


@router.get("/trial", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def try_next_version(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[TrialQuery, Query()]
) -> TrialResource:
    """Read what was written lately with the live version and with the next one, side by side."""
    return TrialResource.of(await trial_for(runtime, identity, days=query.days))


@router.post("/measurement", responses=problems_of(401, 403))
async def measure_live_version(identity: Administrator, runtime: RuntimeDependency) -> ClassifierResource:
    """Measure the live version, if that was not done."""
    await train_classifier.measure_live_version(runtime, identity.tenant_id)
    return ClassifierResource.of(await read_classifier(runtime, identity.tenant_id), identity.visibility)


@router.post("/live", responses=problems_of(400, 401, 403, 409, 422))
async def put_next_version_live(order: LiveOrder, identity: Administrator, runtime: RuntimeDependency) -> LiveVersion:
    """Put the next version live: it is taught the phrases that wait, and reads from the next message on."""
    by = administrator_of(identity)
    try:
        version = await train_classifier.put_live(runtime, identity.tenant_id, by, version=order.version)
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return LiveVersion(version=version)


@router.put("/threshold", responses=problems_of(400, 401, 403, 409, 422))
async def set_threshold(
    budget: RefusalBudget, identity: Administrator, runtime: RuntimeDependency
) -> ThresholdResource:
    """Set the threshold by the share of good questions that may be asked back."""
    by = administrator_of(identity)
    try:
        found = await train_classifier.set_refusal_budget(runtime, identity.tenant_id, by, budget.refused_share)
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return ThresholdResource(threshold=found)


@router.post("/phrases", responses=problems_of(400, 401, 403, 409, 422))
async def add_training_phrases(
    order: PhrasesOrder, identity: Administrator, runtime: RuntimeDependency
) -> AddedPhrases:
    """Add phrases to a skill or flow, or to what no skill answers; they wait for the next version."""
    of = (runtime, identity.tenant_id, administrator_of(identity), order.intent, order.phrases)
    try:
        return AddedPhrases(added=await add_phrases(*of, locale=order.locale))
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error


@router.delete("/phrases/{phrase_id}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def remove_training_phrase(phrase_id: UUID, identity: Administrator, runtime: RuntimeDependency) -> None:
    """Take an added phrase out with the next version; one that only waits, at once."""
    if not await remove_phrases(runtime, identity.tenant_id, administrator_of(identity), [phrase_id]):
        raise NotFoundError(f"There is no added phrase {phrase_id}.")
