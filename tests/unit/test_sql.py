"""Statements for any number of rows: their text, and what is given to the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from dragoman.sql import BulkStatement, bulk_insert, columns_of


class RecordingConnection:
    """Keeps what was asked of it."""

    def __init__(self, status: str = "INSERT 0 2") -> None:
        self.asked: list[tuple[object, ...]] = []
        self.status = status

    async def execute(self, query: str, /, *args: object) -> str:
        self.asked.append((query, *args))
        return self.status

    async def fetch(self, query: str, /, *args: object) -> list[Any]:
        self.asked.append((query, *args))
        return ["a row"]


def test_the_tenant_stands_first_and_what_is_in_the_way_is_left_alone() -> None:
    assert bulk_insert("note", {"note_id": "uuid", "at": "timestamptz"}).text == (
        "INSERT INTO note (tenant_id, note_id, at) SELECT $1::uuid, r.note_id, r.at "
        "FROM unnest($2::uuid[], $3::timestamptz[]) AS r(note_id, at) ON CONFLICT DO NOTHING"
    )


def test_json_and_word_lists_travel_as_text() -> None:
    assert bulk_insert("note", {"body": "jsonb", "words": "tsvector"}).text == (
        "INSERT INTO note (tenant_id, body, words) SELECT $1::uuid, r.body::jsonb, r.words::tsvector "
        "FROM unnest($2::text[], $3::text[]) AS r(body, words) ON CONFLICT DO NOTHING"
    )


def test_every_option_at_once() -> None:
    made = bulk_insert(
        "note AS n",
        {"name": "text", "_left": "int", "body": "jsonb"},
        once={"at": "timestamptz", "_seconds": "float8"},
        values={"due_at": "{at} + make_interval(secs => {_seconds})", "rank": "r._left + 1", "body": "r.body"},
        order="r.place",
        conflict="(tenant_id, name) DO UPDATE SET at = excluded.at",
        returning="n.name",
    )
    assert made.text == (
        "INSERT INTO note AS n (tenant_id, at, name, body, due_at, rank) SELECT $1::uuid, $2::timestamptz, r.name, "
        "r.body, $2::timestamptz + make_interval(secs => $3::float8), r._left + 1 "
        "FROM unnest($4::text[], $5::int[], $6::text[]) WITH ORDINALITY AS r(name, _left, body, place) "
        "ORDER BY r.place ON CONFLICT (tenant_id, name) DO UPDATE SET at = excluded.at RETURNING n.name"
    )


def test_rows_of_several_tenants_name_theirs() -> None:
    assert bulk_insert("note", {"tenant_id": "uuid", "name": "text"}, conflict="").text == (
        "INSERT INTO note (tenant_id, name) SELECT r.tenant_id, r.name "
        "FROM unnest($1::uuid[], $2::text[]) AS r(tenant_id, name)"
    )


def test_other_statements_say_where_their_rows_stand() -> None:
    made = BulkStatement(
        "UPDATE note AS n SET at = {now} FROM {rows} WHERE n.tenant_id = {tenant_id} AND n.name = r.name",
        {"name": "text"},
        once={"now": "timestamptz"},
    )
    assert made.text == (
        "UPDATE note AS n SET at = $2::timestamptz FROM unnest($3::text[]) AS r(name) "
        "WHERE n.tenant_id = $1::uuid AND n.name = r.name"
    )


async def test_rows_are_turned_into_columns_and_json_into_text() -> None:
    connection = RecordingConnection()
    made = bulk_insert("note", {"name": "text", "body": "jsonb"}, once={"at": "int"})
    assert await made.execute(connection, [("a", {"x": "\0"}), ("b", None)], "tenant", 7) == 2
    assert connection.asked == [(made.text, "tenant", 7, ("a", "b"), ['{"x":"\N{REPLACEMENT CHARACTER}"}', None])]


async def test_what_comes_back_is_handed_on() -> None:
    connection = RecordingConnection()
    made = bulk_insert("note", {"name": "text"}, returning="name")
    assert await made.fetch(connection, [("a",)], "tenant") == ["a row"]
    assert connection.asked == [(made.text, "tenant", ("a",))]


async def test_without_rows_nothing_is_asked() -> None:
    connection = RecordingConnection()
    made = bulk_insert("note", {"name": "text"})
    assert (await made.execute(connection, [], "tenant"), await made.fetch(connection, [], "tenant")) == (0, [])
    assert connection.asked == []


@pytest.mark.parametrize("rows", [[("a",)], [("a", 1, 2)], [("a", 1), ("b",)], [("a",), ("b", 1)]])
async def test_each_row_has_a_value_for_each_column(rows: list[tuple[object, ...]]) -> None:
    connection = RecordingConnection()
    with pytest.raises(ValueError, match=r"columns|zip"):
        await bulk_insert("note", {"name": "text", "size": "int"}).execute(connection, rows, "tenant")
    assert connection.asked == []


@dataclass(frozen=True)
class StoredNote:
    """A value that is kept in columns."""

    name: str
    title: str | None
    shown: bool = False
    more: Mapping[str, Any] | None = None


def test_a_dataclass_is_kept_in_columns_of_its_fields() -> None:
    assert columns_of(StoredNote) == {"name": "text", "title": "text", "shown": "boolean", "more": "jsonb"}


def test_a_field_that_no_column_is_known_for_is_refused() -> None:
    with pytest.raises(KeyError):
        columns_of(dataclass(type("Unknown", (), {"__annotations__": {"part": complex}})))
