"""Skills that do what skills do on a bad day; each leaves a mark when it begins and when it ends.

What a call does follows from its idempotency key, so that a run can be repeated with the same seed. Keywords start
them: no classifier has to be trained in a process that lives for four seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dragoman.skills import RetryableError, SkillAnswer, SkillContext, skill

LATE_SECONDS = 3.0
"""Longer than a worker lives, as a rule, and longer than the lease of one that was stopped."""


@asynccontextmanager
async def marked(context: SkillContext) -> AsyncIterator[None]:
    """Write down that the call begins, and that it ends; a call that was killed has no end."""
    path = Path(os.environ["CHAOS_HOME"]) / f"calls-{os.getpid()}.jsonl"
    call = {"key": context.idempotency_key, "attempt": context.attempt, "processes": [os.getpid(), os.getppid()]}

    def mark(what: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, json.dumps({**call, what: time.monotonic()}).encode() + b"\n")
        os.close(descriptor)

    mark("begun")
    try:
        yield
    finally:
        mark("ended")


def chance(context: SkillContext) -> int:
    """A number below 100 that is the same whenever this attempt is looked at."""
    return hashlib.sha256(f"{context.idempotency_key}/{context.attempt}".encode()).digest()[0] * 100 // 256


def said(context: SkillContext, word: str) -> str:
    """A reply that only this dispatch can have made."""
    return f"{word} {context.idempotency_key}"


@skill(name="chaos.quick", label="Quick", version="1", phrases={"en": ["be quick"]}, keywords=["quick"])
async def quick(context: SkillContext) -> str:
    """Answer at once."""
    async with marked(context):
        return said(context, "quick")


@skill(name="chaos.several", label="Several", version="1", phrases={"en": ["tell me more"]}, keywords=["several"])
async def several(context: SkillContext) -> SkillAnswer:
    """Answer with three messages, which must stay in order, and end the session."""
    async with marked(context):
        return SkillAnswer(replies=[said(context, f"part {n} of") for n in (1, 2, 3)], resolve=True)


@skill(name="chaos.flaky", label="Flaky", version="1", phrases={"en": ["try this"]}, keywords=["flaky"], attempts=3)
async def flaky(context: SkillContext) -> str:
    """Fail two times in three, for now."""
    async with marked(context):
        if chance(context) < 66:
            raise RetryableError("the back end is busy")
        return said(context, "flaky")


@skill(name="chaos.broken", label="Broken", version="1", phrases={"en": ["break"]}, keywords=["broken"])
async def broken(context: SkillContext) -> str:
    """Fail for good."""
    async with marked(context):
        raise KeyError("this order has no customer")


@skill(
    name="chaos.hanging",
    label="Hanging",
    version="1",
    phrases={"en": ["hang"]},
    keywords=["hanging"],
    timeout=0.6,
    attempts=2,
)
async def hanging(context: SkillContext) -> str:
    """Never answer."""
    async with marked(context):
        await asyncio.sleep(3600)
        return "never"


@skill(name="chaos.late", label="Late", version="1", phrases={"en": ["take your time"]}, keywords=["late"])
async def late(context: SkillContext) -> str:
    """Answer when the worker may be gone."""
    async with marked(context):
        await asyncio.sleep(LATE_SECONDS)
        return said(context, "late")


SHOP = {made.spec.name: made for made in (quick, several, flaky, broken, hanging, late)}
