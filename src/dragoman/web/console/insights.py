"""Skill Usage Insights: what skills did in a time, what became of messages, and what nobody answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.classify import local
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.outcomes import Outcome
from dragoman.domain.questions import OUT_OF_SCOPE
from dragoman.domain.usage_period import CUSTOM, HOURLY_DAYS, PRESETS, USUAL, UsagePeriod, usage_period
from dragoman.runtime import Runtime
from dragoman.services.catalogue.train_classifier import MeasuredVersion
from dragoman.services.insights.answer_questions import add_phrases, reopen_question
from dragoman.services.insights.read_insights import Insights, NamedSkill, read_insights
from dragoman.store.catalogue import classifiers, phrases, skills
from dragoman.store.database import Connection
from dragoman.store.insights import questions, usage
from dragoman.store.insights.questions import Question, Questions
from dragoman.store.insights.usage import SkillUsage
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web import audited_reads
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console import charts
from dragoman.web.console.dispatches import ADDRESS as CALLS
from dragoman.web.console.dispatches import INSIGHTS as ADDRESS
from dragoman.web.console.formatting import Times, day_and_month, decimals, weekday
from dragoman.web.console.page import render, said, times_of
from dragoman.web.console.query import ADDRESS as LOGS
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

TOP = 10
QUESTIONS = 10
EXAMPLES = 3
CONFLICTS = 5

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]
Line = Annotated[str, Form(max_length=2000)]
Where = Annotated[str, Form(max_length=200)]

SERIES: Mapping[str, tuple[str, str, frozenset[Outcome]]] = {
    "served": (deferred("Served"), "green", frozenset({Outcome.SUCCESS})),
    "people": (deferred("Handed to agents"), "violet", frozenset({Outcome.HANDOFF, Outcome.TO_AGENT})),
    "failed": (
        deferred("Failed"),
        "red",
        frozenset(
            {
                Outcome.SKILL_ERROR, Outcome.SKILL_RETIRED, Outcome.PARTIAL_FLOW_FAILURE,
                Outcome.DISPATCH_ORPHANED,
            }
        ),
    ),
    "refused": (
        deferred("Refused"),
        "amber",
        frozenset(
            {
                Outcome.BUDGET_EXCEEDED, Outcome.RATE_LIMITED, Outcome.SESSION_BUSY,
                Outcome.VERIFICATION_REQUIRED,
            }
        ),
    ),
    "open": (deferred("In progress"), "gray", frozenset({Outcome.IN_PROGRESS, Outcome.NONE})),
}  # fmt: skip
"""What outcomes are added up to in the chart: label, colour, and the outcomes."""

_SERIES = [charts.ChartSeries(key, label, hue) for key, (label, hue, _of) in SERIES.items()]


@dataclass(frozen=True, slots=True)
class PeriodQuery:
    """The page's time as its address has it."""

    preset: str
    first: str
    last: str

    @classmethod
    def read(cls, given: Mapping[str, str]) -> PeriodQuery:
        """Take it from the address, or from a form."""
        first, last = given.get("from", "").strip()[:20], given.get("to", "").strip()[:20]
        return cls(given.get("range", "").strip()[:20] or (CUSTOM if first or last else USUAL), first, last)

    def address(self, anchor: str = "") -> str:
        """Write the page's address."""
        given = {"range": self.preset, "from": self.first, "to": self.last}
        return f"{ADDRESS}?{urlencode({name: value for name, value in given.items() if value})}{anchor}"


@dataclass(frozen=True, slots=True)
class Trend:
    """How a number compares with the time before: what is written, and whether that is good (None: neither)."""

    text: str
    is_good: bool | None


@dataclass(frozen=True, slots=True)
class SkillRow:
    """Is a skill as the chart and the table show it; ``length`` of its bar in percent."""

    named: NamedSkill
    usage: SkillUsage
    length: float
    trend: Trend | None
    logs: str


@router.get(ADDRESS)
async def page(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the figures of a time."""
    return await _show(request, runtime, identity, PeriodQuery.read(request.query_params))


async def _show(
    request: Request, runtime: Runtime, identity: Principal, query: PeriodQuery, *, mistake: str = "", status: int = 200
) -> Response:
    times = times_of(request)
    cutoff = retention_cutoff(runtime, identity.retention_days)
    try:
        period = usage_period(
            query.preset, query.first, query.last, zone=times.zone, now=runtime.clock.now(), cutoff=cutoff
        )
    except ValueError as error:
        context: dict[str, Any] = {"period": None, "mistake": said(error), "insights": None}
        status = 422
    else:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            context = await _figures(runtime, connection, identity, period, times)
        context |= {"mistake": mistake}
    return render(
        request,
        "insights/skills.html",
        status_code=status,
        address=ADDRESS,
        calls=CALLS,
        query=query,
        presets=PRESETS,
        done=_DONE.get(request.query_params.get("done", "")),
        out_of_scope=OUT_OF_SCOPE,
        may_teach=identity.may("communications.access:admin"),
        **context,
    )


async def _figures(
    runtime: Runtime, connection: Connection, identity: Principal, period: UsagePeriod, times: Times
) -> dict[str, Any]:
    tenant_id = identity.tenant_id
    insights = await read_insights(connection, tenant_id, period)
    asked = {"since": period.since.isoformat(), "until": period.until.isoformat()}
    found = await questions.questions(
        connection, tenant_id, period.since, period.until, limit=QUESTIONS, examples=EXAMPLES
    )
    if found.open or found.decided:
        await audited_reads.questions_listed(runtime, connection, identity, asked)
    live = await classifiers.latest_live(connection, tenant_id, local.NAME)
    measured = None if live is None else MeasuredVersion.of(live)
    vocabulary = (await skills.dispatch_rules(connection, tenant_id)).vocabulary
    waiting = [one for one in await phrases.list_all(connection, tenant_id) if one.waits]
    rows = _rows(insights, period)
    columns = [_added_up(one.outcomes) for one in insights.stretches]
    titles = [_title(times.local(one.start), period) for one in insights.stretches]
    return {
        "period": period,
        "insights": insights,
        "days": {"from": period.first.isoformat(), "to": period.last.isoformat()},
        "trends": _trends(insights),
        "top": rows[:TOP],
        "rows": rows,
        "series": _SERIES,
        "chart": charts.stacked_svg(columns, titles, _SERIES, _("Outcomes over time")),
        "table": charts.table_rows(columns, titles, _SERIES),
        "questions": await _masked(connection, identity, found),
        "conflicts": measured.conflicts[:CONFLICTS] if measured else (),
        "labels": {name: spec.label for name, spec in vocabulary.items()},
        "topics": phrases.labels_of(vocabulary),
        "waiting": len(waiting),
    }


def _title(local: datetime, period: UsagePeriod) -> str:
    if period.days <= HOURLY_DAYS:
        return f"{weekday(local)} {local:%H:%M}"
    return day_and_month(local)


def _added_up(outcomes: Mapping[str, int]) -> dict[str, int]:
    return {name: sum(outcomes.get(outcome, 0) for outcome in of) for name, (_label, _hue, of) in SERIES.items()}


def _rows(insights: Insights, period: UsagePeriod) -> list[SkillRow]:
    used = insights.by_use
    highest = used[0].dispatches if used else 0
    before = insights.before
    return [
        SkillRow(
            named=insights.names[one.skill],
            usage=one,
            length=charts.length(one.dispatches, highest),
            trend=None if before is None else _change(one.dispatches, _dispatches(before.skills.get(one.skill))),
            logs=f"{LOGS}?{urlencode({'ran': f'{one.skill},,{period.first},{period.last}'})}",
        )
        for one in used
    ]


def _dispatches(found: SkillUsage | None) -> int:
    return found.dispatches if found else 0


def _trends(insights: Insights) -> dict[str, Trend | None]:
    """How the cards' numbers compare with the time before."""
    now, before = insights.now, insights.before
    if before is None:
        return dict.fromkeys(("dispatches", "success", "latency", "errors", "handoffs", "wait", "misses", "cost"))
    total, then = now.total, before.total
    return {
        "dispatches": _change(total.dispatches, then.dispatches),
        "success": _points(total.success_rate, then.success_rate, more_is_good=True),
        "latency": _change(total.average_ms, then.average_ms, more_is_good=False),
        "errors": _points(total.error_rate, then.error_rate, more_is_good=False),
        "handoffs": _points(now.handoff_rate, before.handoff_rate, more_is_good=None),
        "wait": _change(now.p50_wait_ms, before.p50_wait_ms, more_is_good=False),
        "misses": _change(now.misses, before.misses, more_is_good=False),
        "cost": _change(_cost(insights.now), _cost(before)),
    }


def _cost(figures: usage.UsageFigures) -> int:
    return figures.total.cost_micros + figures.classifier_micros


def _change(now: float | None, before: float | None, *, more_is_good: bool | None = None) -> Trend | None:
    if now is None or not before:
        return None
    share = (now - before) / before
    if abs(share) < 0.005:
        return Trend(_("no change"), None)
    change, times = f"{share * 100:+.0f} %".replace("-", "−"), f"{now / before:.0f}"
    text = change if abs(share) < 10 else _("%(number)s times as many", number=times)
    return Trend(text, None if more_is_good is None else (share > 0) is more_is_good)


def _points(now: float | None, before: float | None, *, more_is_good: bool | None) -> Trend | None:
    if now is None or before is None:
        return None
    points = (now - before) * 100
    if abs(points) < 0.05:
        return Trend(_("no change"), None)
    written = decimals(f"{points:+.1f}".replace("-", "−"))
    text = _("%(points)s points", points=written)
    return Trend(text, None if more_is_good is None else (points > 0) is more_is_good)


async def _masked(connection: Connection, identity: Principal, found: Questions) -> Questions:
    shown = [example.contact_id for one in (*found.open, *found.decided) for example in one.examples]
    masks = await identity.visibility.masks(connection, identity.tenant_id, shown)

    def masked(question: Question) -> Question:
        examples = tuple(
            dataclasses.replace(one, text=identity.visibility.written(one.contact_id, one.text, masks))
            for one in question.examples
        )
        return dataclasses.replace(question, examples=examples)

    return dataclasses.replace(found, open=tuple(map(masked, found.open)), decided=tuple(map(masked, found.decided)))


_DONE = {
    "phrases": deferred("Phrases added. The classifier uses them from its next version: test it, then publish it."),
    "out_of_scope": deferred("Marked as out of scope. The classifier uses this from its next version."),
    "reopened": deferred("Question reopened. Phrases that were added stay on the skill’s page."),
}


@router.post(f"{ADDRESS}/questions/{{group_id}}/phrases")
async def teach(
    request: Request,
    runtime: RuntimeDependency,
    identity: Administrator,
    group_id: UUID,
    intent: Annotated[str, Form(max_length=130)],
    lines: Line = "",
    locale: Annotated[str, Form(max_length=35, pattern=r"^[A-Za-z-]+$")] = "en",
) -> Response:
    """Add what stands in the form, a phrase a line, to a skill, a flow, or to what no skill answers."""
    form = await request.form(max_files=0)
    query = PeriodQuery.read({name: str(value) for name, value in form.items()})
    of = (runtime, identity.tenant_id, administrator_of(identity), intent, lines.splitlines())
    try:
        await add_phrases(*of, locale=locale, group_id=group_id)
    except NotFoundError as error:
        return await _show(request, runtime, identity, query, mistake=said(error), status=404)
    except ChangeRefusedError as error:
        return await _show(request, runtime, identity, query, mistake=said(error), status=409)
    done = "out_of_scope" if intent == OUT_OF_SCOPE else "phrases"
    return RedirectResponse(f"{query.address()}&done={done}#questions", 303)


@router.post(f"{ADDRESS}/questions/{{group_id}}/reopen")
async def reopen(request: Request, runtime: RuntimeDependency, identity: Administrator, group_id: UUID) -> Response:
    """Put a question back among the open ones."""
    form = await request.form(max_files=0)
    query = PeriodQuery.read({name: str(value) for name, value in form.items()})
    try:
        await reopen_question(runtime, identity.tenant_id, administrator_of(identity), group_id)
    except NotFoundError as error:
        return await _show(request, runtime, identity, query, mistake=said(error), status=404)
    return RedirectResponse(f"{query.address()}&done=reopened#questions", 303)
