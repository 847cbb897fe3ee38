"""Offers the catalogue's filters as parameters of the API; checked field by field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from dragoman.store.conversation_list.conversations import Filters, Sort, SortOrder
from dragoman.store.conversation_list.filter_catalogue import FILTERS, NAME, WORDS, FilterField
from dragoman.web.http.problems import InvalidParameterError


def _order(value: str) -> str:
    try:
        return str(SortOrder.parse(value))
    except ValueError as error:
        raise ValueError(f"use one of {', '.join(Sort)}, with a minus before it for the greatest first") from error


def from_text(read: Callable[[str], Any]) -> Callable[[object], Any]:
    """*read* for a value that may be anything JSON has. Raises ValueError for what is no text, as for a bad text."""

    def checked(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be text")
        return read(value)

    return checked


Words = Annotated[str, Field(max_length=WORDS.longest), AfterValidator(WORDS.read)]
Name = Annotated[str, Field(max_length=NAME.longest), AfterValidator(NAME.read)]


class PageQuery(BaseModel):
    """Says which part of a list is wanted. An empty value is the same as none; unknown parameters are refused."""

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


def _parameter(field: FilterField) -> Any:
    """A filter as a field of a Pydantic model: its type and what is said of it."""
    kind = field.kind
    of: Any = kind.api_type
    if kind.api_type is str:
        of = Annotated[str, Field(max_length=kind.longest), AfterValidator(kind.read)]
    elif kind.api_type is datetime:
        of = Annotated[datetime, BeforeValidator(from_text(kind.read))]
    return of | None, Field(None, alias=field.api, description=field.description)


_PARAMETERS = {field.name: _parameter(field) for field in FILTERS if field.api}

if TYPE_CHECKING:
    _FilterQuery = PageQuery
else:
    # A class whose fields are known only now cannot be a base for mypy; they are read by :meth:`filters` alone.
    _FilterQuery = create_model("_FilterQuery", __base__=PageQuery, **_PARAMETERS)


class ConversationQuery(_FilterQuery):
    """Narrows the Conversation Logs. All that are given must fit."""

    sort: Annotated[str, AfterValidator(_order)] = Field(
        "-activity", description="`activity`, `started`, `duration` or `messages`; with a minus, greatest first"
    )

    @property
    def order(self) -> SortOrder:
        """Is the order of the list; its cursors belong to it."""
        return SortOrder.parse(self.sort)

    def filters(self) -> Filters:
        """Give the same to the store."""
        return Filters(**{name: getattr(self, name) for name in _PARAMETERS})


def given_once(request: Request) -> None:
    """Refuse a parameter that is given twice: taking either value would be a guess."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise InvalidParameterError(name[:100], "given more than once")
        seen.add(name)
