"""The JSON API for how sessions are handed over to people, and for what each agent takes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import DAYS, MOST_SESSIONS, HandoffRules, part_to_json
from dragoman.services.handoff import change_rules
from dragoman.store.catalogue import skills
from dragoman.store.handoff import agents
from dragoman.store.handoff.agents import AgentProfile, TeamMember
from dragoman.web.api.conversations import problems_of
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError

Settings = Annotated[Principal, Depends(require("settings.admin"))]

router = APIRouter(prefix="/api/v1", tags=["handoff"])


class HolidayResource(BaseModel):
    """A day on which nobody is there."""

    model_config = ConfigDict(extra="forbid")

    date: str = Field(description="`2026-12-24`, or `12-25` for every year")
    name: str = ""


class BusinessHoursResource(BaseModel):
    """When people are there; without any span they are there at all times."""

    model_config = ConfigDict(extra="forbid")

    time_zone: str = Field(description="IANA name, such as `Europe/Vienna`")
    weekly: dict[str, list[str]] = Field(
        description=f"Opening hours such as `08:00-17:30` by weekday ({', '.join(DAYS)}); days left out are closed"
    )
    holidays: list[HolidayResource]


class HandoffSettings(BaseModel):
    """How sessions are handed over. A time of 0 is switched off."""

    model_config = ConfigDict(extra="forbid")

    target_seconds: StrictInt = Field(description="Target for how long a contact waits for an agent's reply")
    unattended_seconds: StrictInt = Field(description="A session that nobody has claimed for this long is reported")
    idle_seconds: StrictInt = Field(description="A handoff ends when nobody has written for this long")
    absent_seconds: StrictInt = Field(
        description="A session returns to the queue if its agent is away for this long while the contact waits"
    )
    phone_app_silence_seconds: StrictInt = Field(
        default=HandoffRules().phone_app_silence_seconds,
        description="How long the bot stays silent after staff replied from the phone app",
    )
    automatic: StrictBool = Field(description="Whether sessions are assigned to available agents automatically")
    cap: StrictInt = Field(ge=1, le=MOST_SESSIONS, description="Maximum number of sessions assigned to one agent")
    hours: BusinessHoursResource
    closed_text: dict[str, str] = Field(
        description="Message outside business hours, by language; `{{when}}` is replaced by the time when "
        "people are back"
    )

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Show what *policy* says of it."""
        hours: dict[str, Any] = part_to_json(policy.routing)["hours"]
        holidays = [
            HolidayResource(date=holiday.written, name=holiday.name) for holiday in policy.routing.hours.holidays
        ]
        return cls(
            **part_to_json(policy.handoff),
            hours=BusinessHoursResource(time_zone=hours["time_zone"], weekly=hours["weekly"], holidays=holidays),
            closed_text=dict(policy.routing.closed_text),
        )


class NewAgentProfile(BaseModel):
    """Says which sessions an agent takes; an empty list stands for all."""

    model_config = ConfigDict(extra="forbid")

    languages: list[str] = Field(description="Language tags such as `de`")
    topics: list[str] = Field(description="Names of skills or flows")
    cap: Annotated[StrictInt, Field(ge=0, le=MOST_SESSIONS)] | None = Field(
        description=f"Maximum number of assigned sessions, 0 to {MOST_SESSIONS}; null for the tenant's default"
    )


class AgentResource(BaseModel):
    """Somebody whose role lets them answer contacts."""

    user_id: UUID
    name: str
    email: str
    languages: list[str]
    topics: list[str]
    cap: int | None
    available: bool = Field(description="Whether they accept new sessions")
    present: bool = Field(description="Whether they are available and were active within the last minutes")
    seen_at: datetime | None
    last_assigned_at: datetime | None
    open_sessions: int

    @classmethod
    def of(cls, agent: TeamMember, now: datetime) -> Self:
        """Show *agent* as they are at that moment."""
        return cls(
            user_id=agent.user_id,
            name=agent.name,
            email=agent.email,
            languages=list(agent.languages),
            topics=list(agent.topics),
            cap=agent.cap,
            available=agent.available,
            present=agent.is_present(now),
            seen_at=agent.seen_at,
            last_assigned_at=agent.last_assigned_at,
            open_sessions=agent.open_sessions,
        )


class AgentList(BaseModel):
    """Lists the tenant's agents by name."""

    items: list[AgentResource]


@router.get("/settings/handoff", responses=problems_of(401, 403))
async def show_handoff_settings(identity: Settings, runtime: RuntimeDependency) -> HandoffSettings:
    """How sessions are handed over to people, and when these are there."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        return HandoffSettings.of((await skills.dispatch_rules(connection, identity.tenant_id)).policy)


@router.put("/settings/handoff", responses=problems_of(400, 401, 403, 422))
async def put_handoff_settings(
    settings: HandoffSettings, identity: Settings, runtime: RuntimeDependency
) -> HandoffSettings:
    """Replace all of it; holds from the next message."""
    try:
        policy = await change_rules.change_all(
            runtime, identity.tenant_id, administrator_of(identity),
            times=settings.model_dump(exclude={"hours", "closed_text"}), hours=settings.hours.model_dump(),
            closed_text=settings.closed_text,
        )  # fmt: skip
    except ConfigurationError as error:
        raise InvalidParameterError("settings", str(error)) from error
    return HandoffSettings.of(policy)


@router.get("/agents", responses=problems_of(401, 403))
async def list_agents(identity: Settings, runtime: RuntimeDependency) -> AgentList:
    """Everybody whose role lets them answer contacts, with what they take and whether they are there."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await agents.list_all(connection, identity.tenant_id)
    now = runtime.clock.now()
    return AgentList(items=[AgentResource.of(agent, now) for agent in found])


@router.put("/agents/{user_id}", responses=problems_of(400, 401, 403, 404, 422))
async def put_agent(
    user_id: UUID, profile: NewAgentProfile, identity: Settings, runtime: RuntimeDependency
) -> AgentResource:
    """Set which sessions an agent takes."""
    wanted = AgentProfile(
        languages=tuple(dict.fromkeys(profile.languages)), topics=tuple(dict.fromkeys(profile.topics)), cap=profile.cap
    )
    try:
        agent = await change_rules.change_agent(
            runtime, identity.tenant_id, administrator_of(identity), user_id, wanted
        )
    except ConfigurationError as error:
        raise InvalidParameterError("profile", str(error)) from error
    return AgentResource.of(agent, runtime.clock.now())
