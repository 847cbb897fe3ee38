"""What may stand in a log line: classes, places, ids and words of ours; never what somebody wrote."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
import structlog
from pydantic import BaseModel

from dragoman.cli import logs
from dragoman.cli.logs import LONGEST_LINE, WORDS
from dragoman.domain.failure_text import describe
from tests.log_output import everything_said

MARK = "Kanarienvogel"
SOURCE = Path(logs.__file__).parents[1]


@pytest.fixture(params=["text", "json"])
def output(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    with everything_said(request.param, capfd) as said:
        yield said


class NumberedOrder(BaseModel):
    number: int


def of_the_database() -> None:
    error = asyncpg.UniqueViolationError(f"duplicate key {MARK}")
    error.detail, error.table_name = f"Failing row contains ({MARK})", "message"
    raise error


def chained() -> None:
    try:
        raise StopIteration({"text": MARK})
    except StopIteration:
        raise ConnectionError from ValueError(MARK)


def grouped() -> None:
    raise ExceptionGroup(MARK, [ValueError(MARK), KeyError(MARK)])


def of_http() -> None:
    request = httpx.Request("GET", f"https://graph.test/{MARK}?access_token={MARK}")
    httpx.Response(400, request=request, text=MARK).raise_for_status()


FAILURES: dict[str, Callable[[], object]] = {
    "KeyError": lambda: dict[str, str]()[MARK],
    "UnicodeDecodeError": b"Kanarienvogel\xff".decode,
    "ValidationError": lambda: NumberedOrder.model_validate({"number": MARK}),
    "UniqueViolationError": of_the_database,
    "ConnectionError": chained,
    "ExceptionGroup": grouped,
    "HTTPStatusError": of_http,
    "JSONDecodeError": lambda: json.loads(f"[{MARK}"),
    "FileNotFoundError": lambda: Path(f"/{MARK}").read_text(),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_an_exception_is_its_class_and_its_places(kind: str, output: Callable[[], str]) -> None:
    log = structlog.get_logger()
    try:
        FAILURES[kind]()
    except Exception as error:
        log.exception("job_failed", job="deliver")
        log.warning("put_off", error=error)
        log.warning("put_off", error=repr(error))
        logging.getLogger("a.library").exception(f"it broke: {error}")
        logging.getLogger("a.library").error("it broke: %s", error, exc_info=True)
    said = output()
    assert said.count(kind) >= 4
    assert "test_logs" in said
    assert MARK not in said


def described(act: Callable[[], object]) -> str:
    try:
        act()
    except Exception as error:
        return describe(error)
    raise AssertionError("nothing was raised")


def test_what_the_system_says_of_an_exception_is_told() -> None:
    said = described(of_the_database)
    assert said.startswith("asyncpg.exceptions.UniqueViolationError 23505 message at tests.unit.test_logs:of_the_data")
    assert " ENOENT " in described(FAILURES["FileNotFoundError"])
    assert " 400 " in described(of_http)


def test_a_message_that_is_a_literal_of_the_code_is_told() -> None:
    def literal() -> None:
        raise RuntimeError("the worker stops")

    def put_together() -> None:
        raise RuntimeError(f"the worker stops: {MARK}")

    assert "(the worker stops)" in described(literal)
    assert "the worker stops" not in described(put_together)


def test_a_chain_without_end_is_bounded() -> None:
    def deeper(depth: int) -> None:
        if depth == 0:
            raise ValueError(MARK)
        try:
            deeper(depth - 1)
        except ValueError as error:
            raise ValueError(depth) from error

    try:
        deeper(300)
    except ValueError as error:
        said = describe(error)
    assert len(said) < 10 * LONGEST_LINE
    assert MARK not in said


def test_fields_hold_ids_and_numbers_and_only_some_hold_words(output: Callable[[], str]) -> None:
    known, log = uuid4(), structlog.get_logger()
    log.info("sent", tenant_id=known, contact_id=str(known), attempt=3, skill="orders.cancel", text=MARK, nested=[MARK])
    log.info("sent", rows={"message": 3, f"a {MARK}": 4})
    said = output()
    assert said.count(str(known)) == 2
    assert "orders.cancel" in said
    assert MARK not in said
    log.info("long", skill="x" * 100_000)
    assert len(output()) < 2 * LONGEST_LINE


def test_a_library_s_line_is_its_template(output: Callable[[], str]) -> None:
    library = logging.getLogger("some.library")
    library.warning("could not reach %s", MARK)
    library.warning(f"could not reach {MARK}")
    library.warning("too few %s %s", MARK)
    library.warning("%d is no number", MARK)
    said = output()
    assert "could not reach %s" in said
    assert said.count("some.library") == 4
    assert MARK not in said


async def test_a_task_that_nobody_asked_is_told_without_its_message(output: Callable[[], str]) -> None:
    async def fail() -> None:
        raise ValueError(MARK)

    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(fail())
    await asyncio.wait({task})
    loop.default_exception_handler(
        {"message": f"Task exception was never retrieved {MARK}", "exception": task.exception(), "task": task}
    )
    said = output()
    assert "ValueError" in said
    assert MARK not in said


def test_what_python_itself_prints_goes_the_same_way() -> None:
    script = """
import asyncio, logging, sys, threading, warnings
from dragoman.cli import logs
MARK = sys.argv[1]
logs.configure("text")
warnings.warn(MARK)
thread = threading.Thread(target=lambda: {}[MARK])
thread.start(); thread.join()
class Bad:
    def __del__(self): raise ValueError(MARK)
Bad()
logging.getLogger().error("%d", MARK)
async def left():
    async def fail(): raise LookupError(MARK)
    asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(left())
raise OverflowError(MARK)
"""
    done = subprocess.run([sys.executable, "-c", script, MARK], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    for kind in ("UserWarning", "KeyError", "ValueError", "LookupError", "OverflowError"):
        assert kind in said, said
    assert MARK not in said


def _log_calls() -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (
                (isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "log")
                or ast.unparse(node.func) == "tell"
            ):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def test_log_calls_say_a_literal_and_hand_over_exceptions_whole() -> None:
    """The formatter keeps what was written out of a line; what is made into a text first would only be lost there."""
    calls = list(_log_calls())
    wrong = []
    for where, call in calls:
        if len(call.args) != 1 or not isinstance(call.args[0], ast.Constant):
            wrong.append(f"{where}: the first and only argument is what happened, as a literal")
        for keyword in call.keywords:
            value = keyword.value
            if keyword.arg in {None, "exc_info"}:
                wrong.append(f"{where}: fields are named, and an exception is handed over as error=")
            if keyword.arg == "error" and not isinstance(value, ast.Name | ast.Attribute):
                wrong.append(f"{where}: error= takes the exception itself")
            if isinstance(value, ast.JoinedStr) and keyword.arg != "place":
                wrong.append(f"{where}: {keyword.arg}= is put together")
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in {"repr", "str"}:
                of = ast.unparse(value.args[0])
                if value.func.id == "repr" or not of.endswith(("_id", "tenant")):
                    wrong.append(f"{where}: {ast.unparse(value)}")
    assert len(calls) > 40
    assert wrong == []


def test_fields_with_words_are_used() -> None:
    used = {keyword.arg for _, call in _log_calls() for keyword in call.keywords}
    made = {"event", "level", "timestamp", "logger", "place", "category"}
    assert set(WORDS) - used - made == set()


def test_warnings_of_the_tests_are_still_errors() -> None:
    with pytest.raises(UserWarning):
        warnings.warn("as before", stacklevel=1)
