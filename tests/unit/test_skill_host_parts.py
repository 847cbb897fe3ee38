"""The parts of skill hosts that need no process: frames, blame, output lines, settings."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.content import Option, Options, Text
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import BusinessPartner
from dragoman.settings import Settings
from dragoman.skills.hosts.failure_cause import Cause, End, verdict
from dragoman.skills.hosts.output import LINE, LINES, WINDOW_SECONDS, Lines
from dragoman.skills.hosts.wire import (
    BrokenFrameError,
    answer_from_json,
    answer_to_json,
    call_from_json,
    call_to_json,
    frame,
    read_frame,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
RETURNED = SkillReturned(
    at=NOW,
    duration_ms=1.5,
    replies=(Text("ü\ud800"), Options(body="b", options=(Option(id="x", title="y"),))),
    data={"a": [1, {"b": None}]},
    resolve=True,
    cost_micros=7,
)
RAISED = SkillRaised(at=NOW, duration_ms=2, error_class="ValueError", message="no", retryable=True)


def call(skill: str = "a.b", timeout: float = 5, partner: BusinessPartner | None = None) -> InvokeSkill:
    return InvokeSkill(
        skill=skill,
        skill_version="3",
        parameters={"n": 1, "text": "ü"},
        attempt=2,
        timeout_seconds=timeout,
        idempotency_key="key",
        contact_id=UUID(int=1),
        locale="de",
        business_partner=partner,
    )


async def read(data: bytes) -> dict[str, Any]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_frame(reader, limit=1000)


@pytest.mark.parametrize("partner", [None, BusinessPartner(business_partner_id=UUID(int=2), number="1", name="A")])
async def test_calls_travel_whole(partner: BusinessPartner | None) -> None:
    assert call_from_json(await read(frame(call_to_json(9, call(partner=partner))))) == (9, call(partner=partner))


@pytest.mark.parametrize("result", [RETURNED, RAISED])
@pytest.mark.parametrize("spent", [None, "why"])
async def test_answers_travel_whole(result: SkillReturned | SkillRaised, spent: str | None) -> None:
    message = await read(frame(answer_to_json(9, result, spent)))
    assert answer_from_json(message, NOW) == (9, result, spent)


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\0\0\0\3{}}", b"\0\0\0\2[]", b"\0\0\0\2\xff\xff", b"\0\0\3\xe8" + b"[" * 1000],
)
async def test_what_is_no_frame_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BrokenFrameError):
        await read(data)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\0\0\5{}"])
async def test_a_frame_that_stops_short_is_the_end(data: bytes) -> None:
    with pytest.raises(EOFError):
        await read(data)


def _altered(path: str, value: object) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(json.dumps(answer_to_json(9, RETURNED, None)))
    *above, last = path.split(".")
    at: Any = message
    for name in above:
        at = at[int(name) if name.isdecimal() else name]
    at[last] = value
    return message


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"answer": 1},
        {"answer": 1, "spent": None},
        {"answer": True, "spent": None, "raised": {}},
        {"answer": 1, "spent": None, "raised": []},
        _altered("answer", "1"),
        _altered("spent", 3),
        _altered("returned.resolve", 1),
        _altered("returned.cost_micros", 1.5),
        _altered("returned.duration_ms", "1"),
        _altered("returned.data", []),
        _altered("returned.replies", None),
        _altered("returned.replies.0.body", 5),
        _altered("returned.replies.0.kind", "media"),
        _altered("returned.replies.1.options", [{"id": 1, "title": "x"}]),
    ],
)
def test_a_forged_answer_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(BrokenFrameError):
        answer_from_json(message, NOW)


def end(cause: Cause, *skills: str, marked: int = 0, **more: Any) -> End:
    calls = {number: call(skill) for number, skill in enumerate(skills, 1)}
    return End(cause=cause, calls=calls, marked=marked, marked_skill=skills[marked - 1] if marked else None, **more)


def told(of: End) -> list[tuple[str, bool]]:
    return [(verdict(of, number).error_class, verdict(of, number).retryable) for number in of.calls]


@pytest.mark.parametrize(
    ("of", "expected", "culprits", "suspects"),
    [
        (end(Cause.EXITED, "a.a", marked=1, status=1), [("SkillExited", False)], {"a.a"}, set()),
        (end(Cause.EXITED, "a.a", status=1), [("SkillExited", False)], {"a.a"}, set()),
        (end(Cause.EXITED, "a.a", status=-signal.SIGKILL), [("SkillExited", True)], {"a.a"}, set()),
        (end(Cause.EXITED, "a.a", status=-signal.SIGBUS), [("SkillExited", False)], {"a.a"}, set()),
        (
            end(Cause.EXITED, "a.a", "b.b", marked=1, status=1),
            [("SkillExited", True), ("SkillHostStopped", True)],
            {"a.a"},
            set(),
        ),
        (
            end(Cause.EXITED, "a.a", "b.b", status=1),
            [("SkillHostStopped", True), ("SkillHostStopped", True)],
            set(),
            {"a.a", "b.b"},
        ),
        (
            end(Cause.HELD_UP, "a.a", "a.a", marked=2, detail="1.5"),
            [("SkillHostStopped", True), ("SkillTimedOut", True)],
            {"a.a"},
            set(),
        ),
        (end(Cause.OVERDUE, "a.a", marked=1), [("SkillTimedOut", True)], {"a.a"}, set()),
        (end(Cause.BROKEN, "a.a", detail="rubbish"), [("SkillHostStopped", False)], {"a.a"}, set()),
        (
            end(Cause.BROKEN, "a.a", "b.b", detail="rubbish"),
            [("SkillHostStopped", True), ("SkillHostStopped", True)],
            set(),
            {"a.a", "b.b"},
        ),
        (end(Cause.CLOSED, "a.a", "b.b"), [("SkillHostStopped", True)] * 2, set(), set()),
    ],
)
def test_blame(of: End, expected: list[tuple[str, bool]], culprits: set[str], suspects: set[str]) -> None:
    assert told(of) == expected
    assert of.culprits == frozenset(culprits)
    assert of.suspects == frozenset(suspects)


def test_a_call_that_is_over_can_still_be_to_blame_through_what_it_left_behind() -> None:
    of = End(cause=Cause.EXITED, calls={5: call("b.b")}, status=1, marked=2, marked_skill="a.a")
    assert verdict(of, 5).message.endswith("another skill is to blame, a.a")
    assert told(of) == [("SkillHostStopped", True)]
    assert of.culprits == frozenset({"a.a"})


class Collected:
    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.dropped: list[int] = []
        self.lines = Lines(self.said.append, self.dropped.append, lambda: self.now)


def test_bytes_become_lines_that_a_terminal_can_stand() -> None:
    out = Collected()
    out.lines.feed(b"one\ntw")
    out.lines.feed(b"o\r\n\xff\x1b[2J\xc3\xbc\nrest")
    out.lines.end()
    assert out.said == ["one", "two", "\ufffd [2Jü", "rest"]


def test_a_line_without_end_is_cut_and_its_remainder_goes_unread() -> None:
    out = Collected()
    for _ in range(100):
        out.lines.feed(b"x" * 10_000)
    out.lines.feed(b"tail\nnext\n")
    assert out.said == ["x" * LINE + "…", "next"]


def test_no_more_lines_than_a_log_can_stand() -> None:
    out = Collected()
    assert not out.lines.feed(b"a\n" * LINES)
    assert out.lines.feed(b"a\n" * 1000)
    assert (len(out.said), out.dropped) == (LINES, [])
    out.now = WINDOW_SECONDS
    out.lines.feed(b"again\n")
    assert (out.said[-1], out.dropped) == ("again", [1000])


def test_settings() -> None:
    key = {"DRAGOMAN_SECRET_KEY": "x", "DRAGOMAN_DATA_DIR": "var"}
    made = Settings.from_environment(key)
    assert (made.skill_hosts, made.skill_memory_mb) == (2, 1024)
    made = Settings.from_environment({**key, "DRAGOMAN_SKILL_HOSTS": "0", "DRAGOMAN_SKILL_MEMORY_MB": "0"})
    assert (made.skill_hosts, made.skill_memory_mb) == (0, 0)
    with pytest.raises(ConfigurationError, match="DRAGOMAN_SKILL_HOSTS is '-1'"):
        Settings.from_environment({**key, "DRAGOMAN_SKILL_HOSTS": "-1"})
