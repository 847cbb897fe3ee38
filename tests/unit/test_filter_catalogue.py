"""The catalogue of filters: whole, the same at every door, and all that a new filter needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from starlette.datastructures import QueryParams

import dragoman
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.store.conversation_list.conditions import Condition
from dragoman.store.conversation_list.filter_catalogue import FILTERS, NAME, FilterField
from dragoman.store.conversation_list.filters import Filters
from dragoman.store.migrate import scripts
from dragoman.web.api.filters import ConversationQuery
from dragoman.web.console.formatting import Times
from dragoman.web.console.query import NOT, ListQuery

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to-add.md"

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

EXAMPLES: dict[Any, str] = {
    str: "whatsapp", bool: "false", State: "OPEN", Outcome: "NONE", datetime: "2026-11-23", UUID: str(UUID(int=1)),
}  # fmt: skip
"""A text for each type; the one for text is a channel, too."""


def test_the_catalogue_has_what_filters_have() -> None:
    assert {each.name for each in FILTERS} == {field.name for field in fields(Filters)} - {"whole_phone"}
    assert {each.negates for each in FILTERS} <= {each.name for each in FILTERS} | {""}
    for names in (
        [each.name for each in FILTERS],
        [each.api for each in FILTERS if each.api],
        [each.console for each in FILTERS if each.console],
    ):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.name)
def test_a_filter_means_the_same_at_every_door(each: FilterField) -> None:
    text = EXAMPLES[each.kind.api_type]
    value = each.read([text])
    wanted = Filters(**{each.name: value})
    assert wanted.given() == [(each, value)]
    assert Filters.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted
    if each.api:
        assert ConversationQuery.model_validate({each.api: text}).filters() == wanted
    negated = next((field for field in FILTERS if field.name == each.negates), None)
    if each.console or negated:
        given = {negated.console: f"{NOT}{text}"} if negated else {each.console: text}
        query = ListQuery.read(QueryParams(given), {}, Times(UTC, "UTC", NOW))
        assert query.filter_errors() == []
        assert query.filters() == wanted


def test_a_filter_that_would_narrow_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="either a condition or a look-up"):
        FilterField(name="lost", kind=NAME, label="Lost")


IN_A_COPY = """
import asyncio, json
from datetime import UTC, datetime
from unittest.mock import MagicMock
from uuid import UUID

from starlette.datastructures import QueryParams

import dragoman
from dragoman.cli.export import _filters
from dragoman.settings import Settings
from dragoman.store.conversation_list.compile_filters import compile_filters
from dragoman.store.conversation_list.filters import Filters
from dragoman.web.api.reference import document
from dragoman.web.app import create_app
from dragoman.web.console.exports import NAMES
from dragoman.web.console.page import environment
from dragoman.web.console.formatting import Times
from dragoman.web.console.query import ListQuery

settings = Settings(secret_key="", base_url="http://dragoman.test")
described = document(create_app(MagicMock(settings=settings)))
times = Times(UTC, "UTC", datetime(2026, 11, 23, tzinfo=UTC))
query = ListQuery.read(QueryParams("misunderstood=true&state=OPEN"), {}, times)
compiled = asyncio.run(compile_filters(MagicMock(), UUID(int=1), query.filters(), transcripts_since=None))
print(json.dumps({
    "ran": dragoman.__file__,
    "parameters": {
        path: [p for p in described["paths"][path]["get"]["parameters"] if p["name"] == "misunderstood"]
        for path in ("/api/v1/conversations", "/api/v1/conversations/export")
    },
    "body": described["components"]["schemas"]["ExportOrder"]["properties"]["misunderstood"]["description"],
    "errors": [e.advice for e in ListQuery.read(QueryParams("misunderstood=x"), {}, times).filter_errors()],
    "kept": query.string,
    "json": query.filters().to_json(),
    "same": Filters.from_json(query.filters().to_json()) == query.filters() == _filters(
        ["misunderstood=true", "state=OPEN"]
    ),
    "sql": [each.sql for each in (*compiled.conditions, *(one for choice in compiled.choices for one in choice))],
    "label": NAMES["misunderstood"],
    "chip": environment.get_template("logs/_active_filters.html").make_module({"query": query}).chips(),
}))
"""


def test_following_the_page_adds_a_filter(tmp_path: Path) -> None:
    """The page's two blocks, and nothing else, in a copy of the code."""
    of_filter = HOW_TO.read_text("utf-8").partition("## A filter\n")[2].partition("\n## ")[0]
    field, entry = re.findall(r"^ *```python\n(.*?)^ *```$", of_filter, re.DOTALL | re.MULTILINE)
    copy = tmp_path / "src" / "dragoman"
    shutil.copytree(Path(dragoman.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "migrations").symlink_to(scripts())
    folder = copy / "store" / "conversation_list"
    insert(folder / "filters.py", "    whole_phone: bool = False\n", f"    {field.strip()}\n")
    insert(folder / "filter_catalogue.py", '    FilterField(\n        name="session_id"', f"    {entry.strip()},\n")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_COPY], env={**os.environ, "PYTHONPATH": str(copy.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ran"] == str(copy / "__init__.py")
    for (parameter,) in found["parameters"].values():
        assert parameter["description"] == found["body"] == "Whether its latest message was not understood"
        assert parameter["schema"]["anyOf"][0] == {"type": "boolean"}
    assert found["errors"] == ["is not true or false."]
    assert found["kept"] == "?state=OPEN&misunderstood=true"
    assert found["json"] == {"state": ["OPEN"], "misunderstood": True}
    assert found["same"]
    assert found["sql"] == ["s.misses > 0", "s.state = {}"]
    assert found["label"] == "Misunderstood"
    removes = re.search(r'href="[^"]*logs\?state=OPEN".*?</a>', found["chip"], re.DOTALL)
    assert removes is not None
    assert "Not understood" in removes[0]


def insert(file: Path, before: str, text: str) -> None:
    old = file.read_text("utf-8")
    assert old.count(before) == 1
    file.write_text(old.replace(before, text + before), "utf-8")


def test_what_leaves_out_a_value_has_all_the_others() -> None:
    (not_state,) = [each for each in FILTERS if each.name == "not_state"]
    assert not_state.condition is not None
    others = [Condition("s.state = {}", (state,)) for state in State if state is not State.OPEN]
    assert not_state.condition((State.OPEN,)) == others
