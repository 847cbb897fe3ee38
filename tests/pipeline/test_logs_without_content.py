"""No text, name, number, code or token of anybody is in a log line, whatever fails."""

from __future__ import annotations

import asyncpg
import pytest

from dragoman.ledger import append
from dragoman.services.dispatching.handle_inbound import handle
from tests.harness import Harness


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


async def test_a_turn_that_cannot_be_written_has_no_conversation_in_its_exception(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise asyncpg.ProgramLimitExceededError("string is too long for tsvector")

    monkeypatch.setattr(append, "write_turns", refuse)
    await shop.say("my password is Kanarienvogel")
    (contact,) = await shop.rows("SELECT contact_id FROM contact")
    with pytest.raises(asyncpg.ProgramLimitExceededError) as failed:
        await handle(shop.runtime, shop.tenant_id, contact["contact_id"])
    assert [type(error).__name__ for error in _chain(failed.value)] == ["ProgramLimitExceededError"]
