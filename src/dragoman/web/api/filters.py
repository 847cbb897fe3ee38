"""The list's filters as they stand in a query string, for the API; checked field by field."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.store.conversation_list.conversations import Filters, Sort, SortOrder
from dragoman.web.http.parameters import channel_of, first_moment, last_moment, partner_of, without_nul
from dragoman.web.http.problems import InvalidParameterError


def _order(value: str) -> str:
    try:
        return str(SortOrder.parse(value))
    except ValueError as error:
        raise ValueError(f"use one of {', '.join(Sort)}, with a minus before it for the greatest first") from error


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
    channel: Annotated[str, AfterValidator(channel_of)] | None = Field(
        None, description="`whatsapp`, `email`, or a channel account's id"
    )
    state_not: State | None = Field(None, description="Any state but this one")
    outcome_not: Outcome | None = Field(None, description="Any outcome but this one")
    business_partner: Annotated[str, Field(max_length=120), AfterValidator(partner_of)] | None = Field(
        None, description="Business partner, by number or id"
    )
    agent: Name | None = Field(None, description="Name of the agent who has or had it")
    errors: bool | None = Field(None, description="Whether something failed in it")
    tag: Name | None = Field(None, description="Tag that a reviewer put on it")
    reviewed: bool | None = Field(None, description="Whether somebody marked it as reviewed")
    q: Words | None = Field(
        None,
        description='Full text of the transcripts and the contact\'s name: `words`, `"a phrase"`, `begin*`, '
        "`-excluded`, `this OR that`",
    )
    from_: Annotated[datetime, BeforeValidator(first_moment)] | None = Field(
        None, alias="from", description="Last activity at or after this RFC 3339 time or day (UTC)"
    )
    to: Annotated[datetime, BeforeValidator(last_moment)] | None = Field(
        None, description="Last activity before this RFC 3339 time, or up to the end of this day (UTC)"
    )

    sort: Annotated[str, AfterValidator(_order)] = Field(
        "-activity", description="`activity`, `started`, `duration` or `messages`; with a minus, greatest first"
    )

    @property
    def order(self) -> SortOrder:
        """The order of the list; its cursors belong to it."""
        return SortOrder.parse(self.sort)

    def filters(self) -> Filters:
        """The same for the store."""
        return Filters(
            not_state=self.state_not,
            not_outcome=self.outcome_not,
            business_partner=self.business_partner,
            agent=self.agent,
            errors=self.errors,
            tag=self.tag,
            reviewed=self.reviewed,
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
