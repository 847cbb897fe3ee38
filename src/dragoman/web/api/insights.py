"""``/api/v1/insights``: what skills did, single dispatches, and what nobody answers. Days are those of UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.skill_calls import SkillCalls
from dragoman.domain.text_values import day_of, first_moment, last_moment
from dragoman.domain.usage import InvocationResult
from dragoman.domain.usage_period import CUSTOM, UsagePeriod, empty_period, usage_period
from dragoman.runtime import Runtime
from dragoman.services.insights.answer_questions import add_phrases, reopen_question
from dragoman.services.insights.read_insights import Insights, read_insights
from dragoman.services.visibility import Masks
from dragoman.store.catalogue.phrases import LONGEST, MOST_AT_ONCE
from dragoman.store.conversation_list.conversations import Filters, MalformedCursorError
from dragoman.store.insights import questions, usage
from dragoman.store.insights.questions import Question
from dragoman.store.insights.usage import InvocationFilters, ListedInvocation, UsageFigures
from dragoman.web import audited_reads
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import Name, PageQuery, StrictQuery, from_text, given_once
from dragoman.web.api.skill_figures import SkillFigures
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.problems import InvalidParameterError

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]

router = APIRouter(prefix="/api/v1/insights", tags=["insights"])

USUAL_DAYS = 7
Day = Annotated[date, BeforeValidator(from_text(day_of))]
QUESTIONS = 50
EXAMPLES = 3

Locale = Annotated[str, Field(min_length=2, max_length=35, json_schema_extra={"pattern": "^[A-Za-z]+(-[A-Za-z]+)*$"})]
PhraseText = Annotated[str, Field(min_length=1, max_length=LONGEST)]


class PeriodParameters(StrictQuery):
    """Says which days the figures are of; the last seven without them. Retention cuts them where it must."""

    from_: Day | None = Field(None, alias="from", description="The first day (UTC)")
    to: Day | None = Field(None, description="The last day (UTC)")

    def period(self, runtime: Runtime, identity: Principal) -> UsagePeriod:
        """Give the same as a time; days of which nothing is kept, or that have not come, are an empty one."""
        now = runtime.clock.now()
        last = self.to or now.astimezone(UTC).date()
        try:
            first = self.from_ or last - timedelta(days=USUAL_DAYS - 1)
            return usage_period(
                CUSTOM, first.isoformat(), last.isoformat(), zone=UTC, now=now,
                cutoff=retention_cutoff(runtime, identity.retention_days),
            )  # fmt: skip
        except (ValueError, OverflowError):
            return empty_period(now)


class NamedSkillFigures(SkillFigures):
    """Counts the dispatches of a skill, and says what it is called."""

    skill: str
    label: str = Field(description="Its full name if it is retired")
    retired: bool


class FiguresResource(BaseModel):
    """Says what happened in a time; a rate is null where there is nothing to take it of."""

    since: datetime
    until: datetime
    total: SkillFigures = Field(description="Total of all skills")
    success_rate: float | None = Field(description="Of completed dispatches")
    error_rate: float | None = Field(description="Failed or lost, of completed dispatches")
    classifier_cost_micros: int
    classifier_runs: int
    sessions: int = Field(description="Conversations that were started")
    handoffs: int
    handoff_rate: float | None
    claims: int = Field(description="Handoffs that an agent claimed")
    p50_wait_ms: float | None
    p95_wait_ms: float | None
    not_understood: int = Field(description="Messages")
    outcomes: dict[str, int]

    @classmethod
    def of(cls, found: UsageFigures, since: datetime, until: datetime) -> Self:
        """Show *found*."""
        return cls(
            since=since, until=until, total=SkillFigures.of(found.total), success_rate=found.total.success_rate,
            error_rate=found.total.error_rate, classifier_cost_micros=found.classifier_micros,
            classifier_runs=found.classifier_runs, sessions=found.sessions, handoffs=found.handoffs,
            handoff_rate=found.handoff_rate, claims=found.claims, p50_wait_ms=found.p50_wait_ms,
            p95_wait_ms=found.p95_wait_ms, not_understood=found.misses, outcomes=dict(found.outcomes),
        )  # fmt: skip


class StretchResource(BaseModel):
    """Counts what became of messages from ``since`` until the next one begins."""

    since: datetime
    outcomes: dict[str, int]
    dispatches: int
    failed: int = Field(description="Dispatches that failed or were lost")


class InsightsResource(BaseModel):
    """Figures of a time, of the time before (null where the record does not go back so far), by skill and by day."""

    counted_at: datetime | None = Field(description="Everything recorded up to this time is included")
    cut_by_retention: bool
    figures: FiguresResource
    before: FiguresResource | None
    skills: list[NamedSkillFigures] = Field(description="The most called first")
    stretches: list[StretchResource]

    @classmethod
    def of(cls, found: Insights, period: UsagePeriod) -> Self:
        """Show *found*."""
        before = found.before
        return cls(
            counted_at=found.counted_at,
            cut_by_retention=period.is_cut,
            figures=FiguresResource.of(found.now, period.since, period.until),
            before=None if before is None or period.before is None else FiguresResource.of(before, *period.before),
            skills=[
                NamedSkillFigures.of(
                    one,
                    skill=one.skill,
                    label=found.names[one.skill].label,
                    retired=found.names[one.skill].is_retired,
                )
                for one in found.by_use
            ],
            stretches=[
                StretchResource(
                    since=one.start, outcomes=dict(one.outcomes), dispatches=one.dispatches, failed=one.failed
                )
                for one in found.stretches
            ],
        )


class InvocationQuery(PageQuery):
    """Narrows the list of dispatches. All that are given must fit."""

    skill: Name | None = Field(None, description="Skill, by its exact name")
    result: InvocationResult | None = Field(None, description="How it ended")
    from_: Annotated[datetime, BeforeValidator(from_text(first_moment))] | None = Field(
        None, alias="from", description="Called at or after this RFC 3339 time or day (UTC)"
    )
    to: Annotated[datetime, BeforeValidator(from_text(last_moment))] | None = Field(
        None, description="Called before this RFC 3339 time, or up to the end of this day (UTC)"
    )


class InvocationResource(BaseModel):
    """Describes one dispatch of a skill."""

    session_id: UUID
    position: int = Field(description="Of the event that records how it ended, or that it started")
    at: datetime
    skill: str
    skill_version: str
    result: InvocationResult
    attempts: int
    duration_ms: float | None = Field(description="Total of all attempts, without the pauses between them")
    cost_micros: int
    error_class: str
    contact_id: UUID

    @classmethod
    def of(cls, found: ListedInvocation) -> Self:
        """Show *found*."""
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


class InvocationPageResource(BaseModel):
    """Holds a part of the list, newest first."""

    items: list[InvocationResource]
    next_cursor: str | None


class QuestionExampleResource(BaseModel):
    """Is one message of a question."""

    session_id: UUID
    message_id: UUID
    at: datetime
    text: str


class QuestionResource(BaseModel):
    """Describes messages that are alike and were not understood."""

    group_id: UUID
    messages: int
    conversations: int | None = Field(description="Null if there are too many to count")
    last_at: datetime
    best_guess: str = Field(description="The classifier's most frequent best guess; empty if none")
    confidence: float | None
    decision: str | None = Field(description="phrase or out_of_scope; null if unanswered")
    intent: str | None = Field(description="The skill or flow they were added to")
    decided_at: datetime | None
    decided_by: str
    examples: list[QuestionExampleResource]

    @classmethod
    def of(cls, found: Question, texts: dict[UUID, str]) -> Self:
        """Show *found*, its examples with these *texts* by message."""
        examples = [
            QuestionExampleResource(
                session_id=one.session_id, message_id=one.message_id, at=one.at, text=texts[one.message_id]
            )
            for one in found.examples
        ]
        return cls(
            group_id=found.group_id, messages=found.count, conversations=found.conversations, last_at=found.last_at,
            best_guess=found.best_guess, confidence=found.confidence, decision=found.decision, intent=found.intent,
            decided_at=found.decided_at, decided_by=found.decided_by, examples=examples,
        )  # fmt: skip


class QuestionsResource(BaseModel):
    """Holds the most frequent questions of a time that nobody answers, and those that were decided on."""

    messages: int = Field(description="Not understood; of the latest 20,000")
    wordless: int = Field(description="Of these, messages without text")
    open_groups: int
    open: list[QuestionResource]
    decided: list[QuestionResource]


class PhrasesOrder(BaseModel):
    """Brings phrases for a skill or flow; for the intent `out_of_scope`, what no skill answers."""

    model_config = ConfigDict(extra="forbid")

    intent: str = Field(min_length=1, max_length=130)
    phrases: list[PhraseText] = Field(min_length=1, max_length=MOST_AT_ONCE)
    locale: Locale = "en"


class AddedPhrases(BaseModel):
    """Says how many phrases wait for the next version of the classifier by this order."""

    added: int


@router.get("/skills", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def skill_usage(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[PeriodParameters, Query()]
) -> InsightsResource:
    """Show how skills were used, and what became of messages."""
    period = query.period(runtime, identity)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        return InsightsResource.of(await read_insights(connection, identity.tenant_id, period), period)


@router.get("/skills/calls", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def skill_calls(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[InvocationQuery, Query()]
) -> InvocationPageResource:
    """List single dispatches of skills, newest first."""
    cutoff = retention_cutoff(runtime, identity.retention_days)
    wanted = InvocationFilters(
        skill=query.skill, result=query.result, since=max(query.from_ or cutoff, cutoff), until=query.to
    )
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            found = await usage.invocations(
                connection, identity.tenant_id, wanted, cursor=query.cursor, limit=query.limit
            )
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
        asked = SkillCalls(skill=query.skill, result=query.result, since=query.from_, until=query.to)
        await audited_reads.listed(runtime, connection, identity, Filters(ran=asked))
    return InvocationPageResource(
        items=[InvocationResource.of(one) for one in found.items], next_cursor=found.next_cursor
    )


@router.get("/questions", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def unanswered_questions(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[PeriodParameters, Query()]
) -> QuestionsResource:
    """List what was asked and not understood, grouped by likeness, the most frequent first."""
    period = query.period(runtime, identity)
    tenant_id, visibility = identity.tenant_id, identity.visibility
    async with runtime.database.tenant(tenant_id) as connection:
        found = await questions.questions(
            connection, tenant_id, period.since, period.until, limit=QUESTIONS, examples=EXAMPLES
        )
        asked = {"since": period.since.isoformat(), "until": period.until.isoformat()}
        await audited_reads.questions_listed(runtime, connection, identity, asked)
        shown = [one for group in (*found.open, *found.decided) for one in group.examples]
        masks: Masks = await visibility.masks(connection, tenant_id, [one.contact_id for one in shown])
    texts = {one.message_id: visibility.written(one.contact_id, one.text, masks) for one in shown}
    return QuestionsResource(
        messages=found.messages,
        wordless=found.wordless,
        open_groups=found.groups,
        open=[QuestionResource.of(one, texts) for one in found.open],
        decided=[QuestionResource.of(one, texts) for one in found.decided],
    )


@router.post("/questions/{group_id}/phrases", responses=problems_of(400, 401, 403, 404, 409, 422))
async def teach_phrases(
    group_id: UUID, order: PhrasesOrder, identity: Administrator, runtime: RuntimeDependency
) -> AddedPhrases:
    """Answer a question: its phrases wait for the next version of the classifier."""
    try:
        added = await add_phrases(
            runtime, identity.tenant_id, administrator_of(identity), order.intent, order.phrases,
            locale=order.locale, group_id=group_id,
        )  # fmt: skip
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return AddedPhrases(added=added)


@router.post("/questions/{group_id}/reopen", status_code=204, responses=problems_of(401, 403, 404, 422))
async def reopen(group_id: UUID, identity: Administrator, runtime: RuntimeDependency) -> None:
    """Put a question back among the open ones; its phrases stay."""
    await reopen_question(runtime, identity.tenant_id, administrator_of(identity), group_id)
