"""Settings: how sessions are handed over to people, when these are there, and what each agent takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from babel.dates import format_skeleton
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.dispatch import routing
from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.policies import DAYS, WHEN, BusinessHours
from dragoman.services.handoff import change_rules
from dragoman.store.catalogue import skills
from dragoman.store.handoff import agents
from dragoman.translations import SOURCE_LANGUAGE, reader_language
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console import handoff_form as forms
from dragoman.web.console.formatting import bot_languages
from dragoman.web.console.page import render, sentence
from dragoman.web.http.dependencies import RuntimeDependency

ADDRESS = "/communications/settings/handoff"

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Settings = Annotated[Principal, Depends(require("settings.admin"))]

_TIME_FIELDS = ("cap", "automatic", *(f"{name}{suffix}" for name in forms.TIMES for suffix in ("", "_unit")))
_REFUSALS = (ConfigurationError, AlreadyTakenError, NotFoundError)


@router.get(ADDRESS)
async def show(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show how sessions are handed over, and to whom."""
    return await _page(request, runtime, identity)


@router.post(f"{ADDRESS}/times")
async def change_times(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Set the times and the assignment."""
    given = forms.texts_of(await request.form(max_files=0), *_TIME_FIELDS)
    try:
        wanted = forms.read_times(given)
        await change_rules.change_times(runtime, identity.tenant_id, administrator_of(identity), wanted)
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=sentence(error), given={"times": given})
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/hours")
async def change_hours(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Set the business hours."""
    given = forms.texts_of(await request.form(max_files=0), "time_zone", *DAYS)
    try:
        await change_rules.change_hours(
            runtime, identity.tenant_id, administrator_of(identity), time_zone=given["time_zone"],
            weekly=forms.read_hours(given),
        )  # fmt: skip
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=sentence(error), given={"hours": given})
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/holidays")
async def add_holiday(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Add a day on which nobody is there."""
    given = forms.texts_of(await request.form(max_files=0), "date", "name", "yearly")
    try:
        holiday = forms.read_holiday(given)
        await change_rules.add_holiday(runtime, identity.tenant_id, administrator_of(identity), holiday)
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=sentence(error), given={"holiday": given})
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/holidays/remove")
async def remove_holiday(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Remove a holiday."""
    written = forms.text_of(await request.form(max_files=0), "date")
    try:
        await change_rules.remove_holiday(runtime, identity.tenant_id, administrator_of(identity), written)
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/words")
async def change_words(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Set what contacts are told outside business hours."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        known = (await skills.dispatch_rules(connection, identity.tenant_id)).policy.routing
    given = forms.texts_of(await request.form(max_files=0), *forms.languages_of(known))
    try:
        await change_rules.change_closed_text(
            runtime, identity.tenant_id, administrator_of(identity), forms.read_closed_text(given)
        )
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=sentence(error), given={"words": given})
    return RedirectResponse(ADDRESS, 303)


@router.get(f"{ADDRESS}/agents/{{user_id}}")
async def show_agent(request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID) -> Response:
    """Show what an agent takes."""
    return await _agent(request, runtime, identity, user_id)


@router.post(f"{ADDRESS}/agents/{{user_id}}")
async def change_agent(request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID) -> Response:
    """Set what an agent takes."""
    form = await request.form(max_files=0)
    given = forms.texts_of(form, "others", "cap")
    ticked = {name: [str(value)[:200] for value in form.getlist(name)] for name in ("language", "topic")}
    try:
        profile = forms.read_profile(given, ticked["language"], ticked["topic"])
        await change_rules.change_agent(runtime, identity.tenant_id, administrator_of(identity), user_id, profile)
    except ConfigurationError as error:
        return await _agent(request, runtime, identity, user_id, mistake=sentence(error), given=given, ticked=ticked)
    return RedirectResponse(f"{ADDRESS}#h-agents", 303)


async def _page(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    given: Mapping[str, Mapping[str, str]] | None = None,
) -> Response:
    """The page; *given* has what was typed into the form that cannot be used, by the form."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        policy = (await skills.dispatch_rules(connection, identity.tenant_id)).policy
        found = await agents.list_all(connection, identity.tenant_id)
        known = await change_rules.topics(connection, identity.tenant_id)
    now, hours = runtime.clock.now(), policy.routing.hours
    languages = forms.languages_of(policy.routing)
    fields: dict[str, Mapping[str, str]] = {
        "times": forms.written_times(policy.handoff),
        "hours": forms.written_hours(policy.routing),
        "holiday": {"date": "", "name": "", "yearly": ""},
        "words": {language: policy.routing.closed_text.get(language, "") for language in languages},
        **(given or {}),
    }
    zones = forms.time_zones()
    return render(
        request,
        "settings/handoff.html",
        status_code=422 if mistake else 200,
        address=ADDRESS,
        mistake=mistake,
        fields=fields,
        times_of_form=forms.TIMES,
        units=forms.UNIT_WORDS,
        days=forms.day_names(),
        zones=zones if hours.time_zone in zones else (hours.time_zone, *zones),
        standing=_standing(hours, now),
        holidays=hours.holidays,
        languages=languages,
        when=WHEN,
        agents=found,
        topics=known,
        cap=policy.handoff.cap,
        now=now,
    )


async def _agent(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    user_id: UUID,
    *,
    mistake: str = "",
    given: Mapping[str, str] | None = None,
    ticked: Mapping[str, list[str]] | None = None,
) -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        agent = await agents.get(connection, identity.tenant_id, user_id)
        known = await change_rules.topics(connection, identity.tenant_id)
        policy = (await skills.dispatch_rules(connection, identity.tenant_id)).policy
    return render(
        request,
        "settings/agent.html",
        status_code=422 if mistake else 200,
        address=ADDRESS,
        mistake=mistake,
        agent=agent,
        fields=given or forms.written_profile(agent.profile),
        ticked=ticked or {"language": agent.languages, "topic": agent.topics},
        languages=bot_languages(),
        topics=known | {topic: topic for topic in agent.topics if topic not in known},
        cap=policy.handoff.cap,
    )


def _standing(hours: BusinessHours, now: datetime) -> str:
    """Whether people are there at this moment, in words."""
    if routing.is_open(hours, now):
        return _("You are open now.")
    opens = routing.opens_at(hours, now)
    if opens is None:
        return _("You are closed now and for the next weeks.")
    written = f"{_day(opens)}, {opens:%H:%M} ({hours.time_zone})"
    return _("You are closed now and open again on %(time)s.", time=written)


def _day(at: datetime) -> str:
    """Write the weekday and the day, with its year."""
    if reader_language() == SOURCE_LANGUAGE:
        return f"{at:%A}, {at.day} {at:%B %Y}"
    return format_skeleton("yMMMMEEEEd", at.date(), locale=reader_language())
