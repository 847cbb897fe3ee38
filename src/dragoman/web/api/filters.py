"""Offers the catalogue's filters as parameters of the API; checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, create_model

from dragoman.store.conversation_list.conversations import Filters, Sort, SortOrder
from dragoman.store.conversation_list.filter_catalogue import FILTERS, NAME, WORDS, FilterField, ValueKind
from dragoman.web.http.problems import InvalidParameterError

MOST_VALUES = 50
"""Of one filter."""

_ORDERS = f"^-?({'|'.join(Sort)})$"


def _order(value: str) -> str:
    try:
        return str(SortOrder.parse(value))
    except ValueError as error:
        raise ValueError(f"{error}, with a minus before it for the greatest first") from error


def from_text(read: Callable[[str], Any]) -> Callable[[object], Any]:
    """*read* for a value that may be anything JSON has. Raises ValueError for what is no text, as for a bad text."""

    def checked(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be text")
        return read(value)

    return checked


def text_of(kind: ValueKind) -> Any:
    """A text that *kind* reads, as a field of a Pydantic model. What is refused beside its length is declared too."""
    some = Field(min_length=1, max_length=kind.longest, json_schema_extra={"pattern": kind.pattern})
    return Annotated[str, some, AfterValidator(kind.read)]


if TYPE_CHECKING:
    Words = str
    Name = str
else:
    Words, Name = text_of(WORDS), text_of(NAME)

Cursor = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"})]
"""Where a list goes on; only what the list itself gave out is one."""


class StrictQuery(BaseModel):
    """Refuses what it does not know. A parameter that is given empty is refused as well: leave it out."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(StrictQuery):
    """Says which part of a list is wanted."""

    cursor: Cursor | None = Field(None, description="`next_cursor` of the part before")
    limit: int = Field(50, ge=1, le=200, description="How many items at most")


class PartQuery(PageQuery):
    """Which part of a transcript or a timeline; its items are small, so a part may be larger."""

    limit: int = Field(200, ge=1, le=500, description="How many items at most")


def _parameter(field: FilterField) -> Any:
    """A filter as a field of a Pydantic model: its type and what is said of it."""
    kind = field.kind
    of: Any = kind.api_type
    if kind.api_type is str:
        of = text_of(kind)
    elif kind.api_type is datetime:
        of = Annotated[datetime, BeforeValidator(from_text(kind.read))]
    if field.several:
        of = Annotated[list[of], BeforeValidator(_listed), Field(min_length=1, max_length=MOST_VALUES)]
    extra = _one_or_several if field.several else None
    return of | None, Field(None, alias=field.api, description=field.description, json_schema_extra=extra)


def _one_or_several(schema: dict[str, Any]) -> None:
    """Declare what :func:`_listed` takes: a list, and one value by itself."""
    several = next(kind for kind in schema["anyOf"] if kind.get("type") == "array")
    schema["anyOf"].insert(0, several["items"])


def _listed(value: object) -> object:
    """One value where several may be: whoever has one need not write a list."""
    return value if isinstance(value, list) else [value]


_PARAMETERS = {field.name: _parameter(field) for field in FILTERS if field.api}
_IN_JSON = {name: (StrictBool | None, given) for name, (of, given) in _PARAMETERS.items() if of == bool | None}
"""What JSON has a type of its own for: the words and numbers of an address are not taken for it there."""

if TYPE_CHECKING:
    _FilterQuery = StrictQuery
else:
    # A class whose fields are known only now cannot be a base for mypy; they are read by :meth:`filters` alone.
    _FilterQuery = create_model("_FilterQuery", __base__=StrictQuery, **_PARAMETERS)


if TYPE_CHECKING:

    class BooleansOfJson:
        """The filters that are true or false."""
else:
    BooleansOfJson = create_model("BooleansOfJson", __base__=StrictQuery, **_IN_JSON)


class FilteredQuery(_FilterQuery):
    """Narrows the Conversation Logs. All that are given must fit."""

    sort: Annotated[str, AfterValidator(_order), Field(json_schema_extra={"pattern": _ORDERS})] = Field(
        "-activity", description="`activity`, `started`, `duration` or `messages`; with a minus, greatest first"
    )

    @property
    def order(self) -> SortOrder:
        """Is the order of the list; its cursors belong to it."""
        return SortOrder.parse(self.sort)

    def filters(self) -> Filters:
        """Give the same to the store."""
        given: dict[str, Any] = {name: getattr(self, name) for name in _PARAMETERS}
        for name, value in given.items():
            # Each value once: what is asked for twice is one choice.
            given[name] = tuple(dict.fromkeys(value)) if isinstance(value, list) else value
        return Filters(**given)


class ConversationQuery(FilteredQuery, PageQuery):
    """A part of the Conversation Logs, narrowed by what is given."""


def given_once_but(several: Collection[str]) -> Callable[[Request], None]:
    """Make the dependency that refuses a parameter that is given twice, other than *several*: either is a guess."""

    def check(request: Request) -> None:
        seen: set[str] = set()
        for name, _ in request.query_params.multi_items():
            if name in seen and name not in several:
                raise InvalidParameterError(name[:100], "given more than once")
            seen.add(name)

    return check


given_once = given_once_but(())
filters_given_once = given_once_but({field.api for field in FILTERS if field.several})
"""For the routes that narrow the Conversation Logs: a filter that takes several values may be given again."""
