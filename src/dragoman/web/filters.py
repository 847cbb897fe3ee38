"""The list's filters as they stand in a query string, for the API; checked field by field."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.store.conversations import CHANNEL_KINDS, Filters
from dragoman.web.problems import InvalidParameterError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# RFC 3339, 5.6. A plus sign that was not percent-encoded arrives as a space.
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)([Zz]|[-+ ]\d{2}:\d{2})", re.ASCII)


def without_nul(text: str) -> str:
    """The text, which PostgreSQL can take. Raises ValueError for U+0000."""
    if "\0" in text:
        raise ValueError("must not contain U+0000")
    return text


def moment(text: str) -> datetime:
    """A time as RFC 3339 has it, in UTC. Raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("use a day (2026-11-23) or an RFC 3339 time (2026-11-23T08:30:00Z)")
    day, time, offset = found.groups()
    offset = "+00:00" if offset in {"Z", "z"} else offset.replace(" ", "+")
    try:
        return datetime.fromisoformat(f"{day}T{time}{offset}").astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


def _first_moment(value: object) -> object:
    if isinstance(value, str):
        return moment(f"{value}T00:00:00Z" if _DAY.fullmatch(value) else value)
    return value


def _last_moment(value: object) -> object:
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return moment(f"{value}T00:00:00Z") + timedelta(days=1)
        except OverflowError as error:
            raise ValueError("the day is out of range") from error
    return _first_moment(value)


def _channel(value: str) -> UUID | str:
    if value in CHANNEL_KINDS:
        return value
    try:
        return UUID(value)
    except ValueError as error:
        raise ValueError("use whatsapp, email or a channel account's id") from error


Words = Annotated[str, Field(max_length=200), AfterValidator(without_nul)]
Name = Annotated[str, Field(max_length=120), AfterValidator(without_nul)]


class PageQuery(BaseModel):
    """Which part of a list. An empty value is the same as none; unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, Field(max_length=200)] | None = Field(None, description="`next_cursor` of the part before")
    limit: int = Field(50, ge=1, le=200, description="How many items at most")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {name: value for name, value in values.items() if value != "" or name not in known}


class PartQuery(PageQuery):
    """Which part of a transcript or a timeline; its items are small, so a part may be larger."""

    limit: int = Field(200, ge=1, le=500, description="How many items at most")


class ConversationQuery(PageQuery):
    """The filters of the Conversation Logs. All that are given must fit."""

    phone: Words | None = Field(None, description="Any part of a phone number, in any formatting")
    intent: Name | None = Field(None, description="Intent, by its exact name")
    skill: Name | None = Field(None, description="Skill, by its exact name")
    state: State | None = Field(None, description="State of the session")
    outcome: Outcome | None = Field(None, description="Outcome of the session")
    channel: Annotated[str, AfterValidator(_channel)] | None = Field(
        None, description="`whatsapp`, `email`, or a channel account's id"
    )
    q: Words | None = Field(None, description="Words to search for in the transcripts")
    from_: Annotated[datetime, BeforeValidator(_first_moment)] | None = Field(
        None, alias="from", description="Last activity at or after this RFC 3339 time or day (UTC)"
    )
    to: Annotated[datetime, BeforeValidator(_last_moment)] | None = Field(
        None, description="Last activity before this RFC 3339 time, or up to the end of this day (UTC)"
    )

    def filters(self) -> Filters:
        """The same for the store."""
        return Filters(
            phone=self.phone,
            intent=self.intent,
            skill=self.skill,
            state=self.state,
            outcome=self.outcome,
            channel=self.channel,
            q=self.q,
            since=self.from_,
            until=self.to,
        )


def given_once(request: Request) -> None:
    """Refuse a parameter that is given twice: taking either value would be a guess."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise InvalidParameterError(name[:100], "given more than once")
        seen.add(name)
