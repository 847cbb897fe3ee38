"""Skills for tests of the pipeline: found by keyword, so that no classifier has to be trained."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pydantic import BaseModel

from dragoman.skills import RetryableError, SkillAnswer, SkillContext, skill
from dragoman.skills.python import PythonSkill
from tests.waiting import PATIENCE_S


class NothingToAsk(BaseModel):
    """No parameters."""


@dataclass
class Calls:
    """What the skills did, for a test to look at, and what it tells them to do."""

    keys: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    failures_left: int = 0


def little_shop(calls: Calls) -> dict[str, PythonSkill]:
    """Three skills: one answers, one waits until it is told to go on, one fails as often as it is told."""

    @skill(name="test.answer", label="Answer", version="1", phrases={"en": ["answer me"]}, keywords=["answer"])
    async def answer(context: SkillContext, parameters: NothingToAsk) -> SkillAnswer:
        calls.keys.append(context.idempotency_key)
        return SkillAnswer(replies=[f"answer {len(calls.keys)}"], cost_micros=5)

    @skill(
        name="test.slow",
        label="Slow",
        version="1",
        phrases={"en": ["take your time"]},
        keywords=["slow"],
        timeout=10 * PATIENCE_S,
    )
    async def slow(context: SkillContext, parameters: NothingToAsk) -> str:
        calls.keys.append(context.idempotency_key)
        calls.begun.set()
        await calls.go_on.wait()
        return "done at last"

    @skill(name="test.flaky", label="Flaky", version="1", phrases={"en": ["try this"]}, keywords=["flaky"], attempts=3)
    async def flaky(context: SkillContext, parameters: NothingToAsk) -> str:
        calls.keys.append(context.idempotency_key)
        if calls.failures_left:
            calls.failures_left -= 1
            raise RetryableError("the back end is busy")
        return "it worked"

    return {s.spec.name: s for s in (answer, slow, flaky)}
