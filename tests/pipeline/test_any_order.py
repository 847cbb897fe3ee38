"""Whatever the order, the number and the parts in which one contact's deliveries come, the record ends the same.

Two ways to be late are played. *At once*: all deliveries are there before a worker looks, as after an outage; then
sessions are those that the contact's own clock gives. *One by one*: a worker handles each delivery as it comes; then
what an answer depended on has happened already, so the messages are such that no session ends by them. Where a message
from a new number was answered before anything told whose it is, its session was another one's: it ends in favour of the
conversation that it belongs to, and counts as that.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from dragoman.domain.message_ids import message_token
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Limits
from dragoman.services import sweep
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.store.database import Database
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.pipeline.field import change, person

SEEDS = range(6)
OLD, NEW = "5511987654321", "436609998877"
OLD_AGAIN = "551187654321"
USER, NEW_USER = "AT.111", "AT.222"

Item = tuple[str, dict[str, Any]]
"""The field of a change, and one item of it."""


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    limits = Limits(contact_per_minute=10**6, channel_account_per_second=10**6, tenant_per_second=10**6)
    async with harness.build(database, tmp_path, little_shop(calls), policy=Policy(limits=limits)) as made:
        yield made


class ContactScript:
    """What one contact does, by their own clock: the items of it, in that order."""

    def __init__(self, chance: random.Random, begin: int, *, ends: bool) -> None:
        self._chance, self._at, self._count = chance, begin, 0
        self.items: list[Item] = []
        self._number, self._user, self._said = OLD, USER, list[str]()
        script = ["write"] * 6 + ["react"] * 4 + ["edit", "edit", "revoke", "change number", "change user id"]
        chance.shuffle(script)
        for what in ("write", *script):
            self._do(what)
        if ends:
            # In the middle: one session that ends, and another one after it.
            self._write("goodbye")
            # Whoever takes a goodbye back before it was read has not said it.
            self._said.pop()
            for what in ("write", "react", "write", "edit", "react"):
                self._do(what)

    def _do(self, what: str) -> None:
        match what:
            case "write":
                self._write(self._chance.choice(["answer", "hello"]))
            case "react":
                target = self._chance.choice(self._said)
                self._message("reaction", {"message_id": target, "emoji": self._chance.choice(["👍", "❤️", ""])})
            case "edit":
                edited = {"type": "text", "text": {"body": f"other words {self._count}"}}
                self._message("edit", {"original_message_id": self._chance.choice(self._said), "message": edited})
            case "revoke":
                self._message("revoke", {"original_message_id": self._chance.choice(self._said)})
            case "change number":
                notice = {"type": "user_changed_number", "body": "changed", "wa_id": NEW}
                self._message("system", notice)
                self._number = NEW
            case "change user id":
                update = {"wa_id": self._number, "user_id": {"previous": self._user, "current": NEW_USER}}
                self.items.append(("user_id_update", {**update, "timestamp": str(self._tick())}))
                self._user = NEW_USER

    def _write(self, said: str) -> None:
        self._said.append(self._message("text", {"body": said}))

    def _message(self, kind: str, body: dict[str, Any]) -> str:
        self._count += 1
        spelled = self._chance.choice([OLD, OLD_AGAIN]) if self._number == OLD else NEW
        # A notice names nobody but the number that was.
        ways = [{"from": spelled, "from_user_id": self._user}, {"from": spelled}]
        sender = ways[1] if kind == "system" else self._chance.choice(ways)
        item = {"id": f"wamid.any.{self._count}", "timestamp": str(self._tick()), "type": kind, kind: body, **sender}
        self.items.append(("messages", item))
        return str(item["id"])

    def _tick(self) -> int:
        self._at += 10
        return self._at


def deliveries(items: Sequence[Item], chance: random.Random) -> list[bytes]:
    """The items in some order, some of them twice, some of them in one delivery."""
    mixed = [*items, *chance.sample(list(items), k=len(items) // 3)]
    chance.shuffle(mixed)
    bodies = []
    while mixed:
        part, mixed = mixed[: (size := chance.randint(1, 3))], mixed[size:]
        changes = []
        for field, item in part:
            key = field
            body = json.loads(change({key: [item], "contacts": _contacts(item)}, field))
            changes += body["entry"][0]["changes"]
        entry = {"id": "555000", "changes": changes}
        bodies.append(json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode())
    return bodies


def _contacts(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [person(item["from"], user_id=item.get("from_user_id"), name="Ana")] if "from" in item else []


async def played(shop: Harness, bodies: Sequence[bytes], *, one_by_one: bool) -> dict[str, Any]:
    for body in bodies:
        assert (await shop.post(body)).status_code == 200
        if one_by_one:
            await shop.settle()
    for _ in range(30):
        await shop.settle()
        shop.clock.move(seconds=11)
        if not await sweep.requeue_overdue(shop.runtime):
            break
    await shop.settle()
    return await on_record(shop)


async def on_record(shop: Harness) -> dict[str, Any]:
    """Messages, marks and sessions, in the order of the contact's clock; nothing that depends on when they came."""
    rows = await shop.rows(
        "SELECT s.session_id, m.content, m.channel_message_id, m.channel_at "
        "FROM session s JOIN message m USING (session_id) WHERE m.sender = 'contact' "
        "ORDER BY m.channel_at, m.channel_message_id"
    )
    contacts = await shop.rows("SELECT contact_id FROM contact WHERE same_as IS NULL")
    waiting = await shop.rows("SELECT content FROM mailbox WHERE progress <> 'done'")
    messages = {row["channel_message_id"]: row for row in rows}
    assert len(messages) == len(rows), "a message stands on record twice"
    homes = {message_token(id_): row["session_id"] for id_, row in messages.items()}
    marks = {
        id_: (row["content"], homes.get(row["content"]["target"]) == row["session_id"])
        for id_, row in messages.items()
        if row["content"]["kind"] in ("reaction", "edit", "revoke")
    }
    ended = await shop.rows(
        "SELECT session_id, substring(payload->>'reason' FROM 'turned out to be the one of session ([0-9a-f-]+)') "
        "AS of FROM audit_event WHERE type = 'session.resolved'"
    )
    goes_on = {row["session_id"]: UUID(row["of"]) for row in ended if row["of"]}
    groups: dict[UUID, list[str]] = {}
    for id_, row in messages.items():
        if row["content"]["kind"] == "text":
            session_id = row["session_id"]
            while session_id in goes_on:
                session_id = goes_on[session_id]
            groups.setdefault(session_id, []).append(id_)
    return {
        "contacts": len(contacts),
        "waiting": waiting,
        "said": {id_: row["content"] for id_, row in messages.items() if row["content"]["kind"] == "text"},
        "marks": marks,
        "sessions": sorted(groups.values()),
    }


async def in_its_order(shop: Harness, seed: int, *, one_by_one: bool) -> tuple[dict[str, Any], list[Item]]:
    """What the contact's own order gives; and the items, to be played again."""
    begin = int(shop.clock.now().timestamp()) - 3600
    items = ContactScript(random.Random(seed), begin, ends=not one_by_one).items
    bodies = [change({field: [item], "contacts": _contacts(item)}, field) for field, item in items]
    return await played(shop, bodies, one_by_one=one_by_one), items


async def again(shop: Harness) -> Harness:
    return await shop.another_tenant(f"again-{UUID(int=random.getrandbits(128))}")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("one_by_one", [False, True], ids=["at once", "one by one"])
async def test_any_order_number_and_splitting_ends_in_the_same_record(
    shop: Harness, seed: int, one_by_one: bool
) -> None:
    expected, items = await in_its_order(shop, seed, one_by_one=one_by_one)
    assert expected["contacts"] == 1
    assert expected["waiting"] == []
    assert all(at_home for _, at_home in expected["marks"].values())
    # A person who has the conversation by then is not told goodbye to.
    assert len(expected["sessions"]) in ((1,) if one_by_one else (1, 2))
    chance = random.Random(f"{seed}/order")
    for _ in range(3):
        other = await again(shop)
        bodies = [body.replace(b"100200300400", other.phone_number_id.encode()) for body in deliveries(items, chance)]
        assert await played(other, bodies, one_by_one=one_by_one) == expected
        assert (await verify_audit(other.runtime, other.tenant_id)).breaches == ()
