"""Skills that behave as badly as they can, and some that behave well. Skill hosts import this module by its name."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragoman.skills import Reply, RetryableError, SkillAnswer, SkillContext, skill
from dragoman.skills.python import PythonSkill

TIMEOUT = 2.0
"""Seconds, for skills of which a time-out is expected."""

ENOUGH = 120.0
"""Seconds, for skills of which something else is expected, however slow the machine is."""

MOST_DESCRIPTORS = 4096
"""More than there are. A host has its link under the number that it had in the process that started it, and that one
may have many files open.
"""


@dataclass(frozen=True)
class Expected:
    """What an attempt ends with, when the skill had its host to itself. None as the class: with an answer."""

    error_class: str | None
    message: str = ""
    retryable: bool = False


HOSTILE: dict[str, Expected] = {}
"""Every hostile skill, and what comes of it."""


class OddError(BaseException):
    """Neither an Exception nor anything that Python knows."""


def keyword(name: str) -> str:
    """The word that starts skill ``bad.<name>``."""
    return f"bad{name.replace('_', '')}"


def hostile(
    error_class: str | None, message: str = "", *, retryable: bool = False, timeout: float = ENOUGH
) -> Callable[[Callable[[], Awaitable[Any]]], Callable[[], Awaitable[Any]]]:
    """Register the function as skill ``bad.<name>``; *message* is a regular expression."""

    def decorate(does: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def it(context: SkillContext) -> Any:
            return await does()

        name = does.__name__
        made = skill(
            name=f"bad.{name}",
            label=name,
            version="1",
            phrases={},
            keywords=[keyword(name)],
            timeout=timeout,
            attempts=3,
        )(it)
        globals()[f"skill_{name}"] = made
        HOSTILE[made.spec.name] = Expected(error_class, message, retryable)
        return does

    return decorate


def say_begun() -> None:
    """Leave a mark in the file that BEGUN names, where a test wants to know when a skill's code runs."""
    if name := os.environ.get("BEGUN"):
        with Path(name).open("a") as marks:
            marks.write("begun\n")


@skill(name="good.quick", label="Quick", version="1", phrases={}, keywords=["quick"], timeout=ENOUGH)
async def quick(context: SkillContext) -> str:
    """Answer at once."""
    return f"here you are, from {os.getpid()}"


@skill(name="good.waits", label="Waits", version="1", phrases={}, keywords=["waits"], timeout=ENOUGH)
async def waits(context: SkillContext) -> str:
    """Do what most skills do: wait for something, and let others run meanwhile."""
    await asyncio.sleep(0.5)
    return f"thank you for waiting, attempt {context.attempt}"


@skill(name="good.holds", label="Holds", version="1", phrases={}, keywords=["holds"], timeout=ENOUGH)
async def holds(context: SkillContext) -> str:
    """Wait in good manners until the file that RELEASE names is there."""
    say_begun()
    while not Path(os.environ["RELEASE"]).exists():
        await asyncio.sleep(0.02)
    return "released"


@skill(name="good.sleeps", label="Sleeps", version="1", phrases={}, keywords=["sleeps"], timeout=2 * 3600)
async def sleeps(context: SkillContext) -> str:
    """Wait in good manners for much longer than any test lasts."""
    say_begun()
    await asyncio.sleep(3600)
    return "done"


@skill(name="good.tells", label="Tells", version="1", phrases={}, keywords=["tells"], timeout=ENOUGH)
async def tells(context: SkillContext) -> SkillAnswer:
    """Say what it was told, in every form that an answer has."""
    partner = context.business_partner
    who = f"{context.locale} {context.idempotency_key} {context.attempt} {partner and partner.name}"
    return SkillAnswer(
        replies=[f"{who} {context.contact_id} ü😀\ud800", Reply("pick", {"skill:a.b": "Do it"})],
        data={"n": [1, None, 1.5, "x"]},
        resolve=True,
        cost_micros=3,
    )


@skill(name="good.talks", label="Talks", version="1", phrases={}, keywords=["talks"], timeout=ENOUGH)
async def talks(context: SkillContext) -> str:
    """Write to both streams."""
    print("to the \x1b[31m operator")  # noqa: T201
    print("a warning", file=sys.stderr)  # noqa: T201
    return "said"


@skill(name="good.environment", label="Environment", version="1", phrases={}, keywords=["environment"], timeout=ENOUGH)
async def environment(context: SkillContext) -> SkillAnswer:
    """Tell what there is to be seen."""
    return SkillAnswer(replies=["see the data"], data=dict(os.environ))


@skill(name="bad.blocks_long", label="Blocks", version="1", phrases={}, keywords=["blockslong"], timeout=ENOUGH)
async def blocks_long(context: SkillContext) -> str:
    """Hold the loop for much longer than any test lasts."""
    say_begun()
    time.sleep(3600)  # noqa: ASYNC251
    return "never"


@skill(
    name="bad.blocks_for_a_while", label="Blocks", version="1", phrases={}, keywords=["blocksawhile"], timeout=ENOUGH
)
async def blocks_for_a_while(context: SkillContext) -> str:
    """Answer within its time, but hold the loop until the file that RELEASE names is there."""
    say_begun()
    while not Path(os.environ["RELEASE"]).exists():
        time.sleep(0.05)  # noqa: ASYNC251
    return "good morning"


@hostile("ValueError", "no such thing")
async def raises() -> str:
    raise ValueError("no such thing")


@hostile("RetryableError", "later", retryable=True)
async def raises_retryable() -> str:
    raise RetryableError("later")


@hostile("SystemExit", "3")
async def raises_system_exit() -> str:
    sys.exit(3)


@hostile("KeyboardInterrupt")
async def raises_keyboard_interrupt() -> str:
    raise KeyboardInterrupt


@hostile("OddError", "odd")
async def raises_odd() -> str:
    raise OddError("odd")


@hostile("CancelledError")
async def cancels_itself() -> str:
    raise asyncio.CancelledError


@hostile("SkillTimedOut", "no answer within 2 seconds", retryable=True, timeout=TIMEOUT)
async def hangs() -> str:
    await asyncio.sleep(3600)
    return "never"


@hostile("SkillTimedOut", "no answer within 2 seconds; the process .* did not react", retryable=True, timeout=TIMEOUT)
async def blocks() -> str:
    time.sleep(3600)  # noqa: ASYNC251
    return "never"


@hostile("SkillTimedOut", "did not react", retryable=True, timeout=TIMEOUT)
async def spins() -> str:
    while True:
        pass


@hostile("SkillTimedOut", "did not react", retryable=True, timeout=TIMEOUT)
async def keeps_the_lock() -> str:
    """A pattern that takes for ever, without once giving Python's lock away."""
    re.match(r"(a+)+$", "a" * 64 + "b")
    return "never"


@hostile("SkillTimedOut", "no answer within 2 seconds", retryable=True, timeout=TIMEOUT)
async def will_not_be_cancelled() -> str:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@hostile("SkillExited", "ended with exit status 7")
async def exits() -> str:
    os._exit(7)


@hostile("SkillExited", "ended with exit status 5")
async def exits_in_a_task() -> str:
    async def leave() -> None:
        sys.exit(5)

    task = asyncio.create_task(leave())
    await asyncio.sleep(1)
    return str(task)


@hostile("SkillExited", "ended with exit status 6")
async def exits_in_a_thread() -> str:
    await asyncio.to_thread(os._exit, 6)
    return "never"


@hostile("SkillExited", "SIGSEGV")
async def crashes() -> str:
    ctypes.string_at(0)
    return "never"


@hostile("SkillExited", "SIGKILL", retryable=True)
async def kills_itself() -> str:
    os.kill(os.getpid(), 9)
    await asyncio.sleep(1)
    return "never"


@hostile("SkillExited", "SIGABRT")
async def aborts() -> str:
    os.abort()


@hostile("SkillExited", "exit status 70")
async def stops_the_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(1)
    return "never"


@hostile("SkillExited")
async def cancels_everything() -> str:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(1)
    return "never"


@hostile("RecursionError", "recursion")
async def recurses() -> str:
    def again(depth: int) -> int:
        return again(depth + 1)

    return str(again(0))


@hostile("SkillExited", "SIGSEGV|SIGABRT")
async def recurses_in_c() -> str:
    sys.setrecursionlimit(1 << 30)

    class Deep:
        def __repr__(self) -> str:
            return repr([self])

    return repr(Deep())


@hostile("InvalidAnswerError", "104857600 characters")
async def answers_100_mb() -> str:
    return "x" * (100 * 1024 * 1024)


@hostile("InvalidAnswerError", "characters, 1048576 are allowed")
async def answers_much_data() -> SkillAnswer:
    return SkillAnswer(replies=["x"], data={"numbers": list(range(500_000))})


@hostile("InvalidAnswerError", "a reply is text or a Reply, not int")
async def answers_wrong_type() -> int:
    return 42


@hostile("InvalidAnswerError", "not plain JSON")
async def answers_nan() -> SkillAnswer:
    return SkillAnswer(replies=["x"], data={"n": float("nan")})


@hostile("InvalidAnswerError", "not plain JSON")
async def answers_no_json() -> SkillAnswer:
    return SkillAnswer(replies=["x"], data={"n": object()})


@hostile("InvalidAnswerError", "nested")
async def answers_deep() -> SkillAnswer:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    return SkillAnswer(replies=["x"], data={"deep": deep})


@hostile("SkillHostStopped", "sent what it must not")
async def scribbles() -> str:
    """Write rubbish into everything that is open."""
    for descriptor in range(1, MOST_DESCRIPTORS):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\xff\x00rubbish\x1b[2J\n" * 20)
    await asyncio.sleep(1)
    return "never"


@hostile("SkillHostStopped|SkillExited", "sent what it must not|ended with exit status")
async def closes_descriptors() -> str:
    os.closerange(3, MOST_DESCRIPTORS)
    await asyncio.sleep(1)
    return "never"


@hostile("SkillTimedOut", "did not react", retryable=True, timeout=TIMEOUT)
async def floods_stdout() -> str:
    while True:
        print("x" * 5000)  # noqa: T201


@hostile("MemoryError", "more memory than its process may use")
async def allocates() -> str:
    hoard = []
    while True:
        hoard.append(bytes(16 * 1024 * 1024))


@hostile(None)
async def forks() -> str:
    """Both the host and its copy come back from here; the copy has had time for what it would do."""
    copy = os.fork()
    if copy == 0:
        return "I am the copy"
    while os.waitpid(copy, os.WNOHANG) == (0, 0):  # noqa: ASYNC222 - it does not wait
        await asyncio.sleep(0.1)
    return "I am the host"


@hostile(None)
async def leaves_a_child() -> str:
    child = subprocess.Popen(["sleep", "3600"])  # noqa: ASYNC220
    return f"child {child.pid}"


@hostile(None)
async def leaves_a_thread() -> str:
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return "the thread goes on"


SHOP: dict[str, PythonSkill] = {
    value.spec.name: value for value in list(globals().values()) if isinstance(value, PythonSkill)
}
