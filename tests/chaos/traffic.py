"""The contacts and Meta's side of the webhook: batches, duplicates, reordering, and delivery until there is a 200."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from dragoman.channels.whatsapp.signature import sign
from tests.harness import APP_SECRET, PHONE_NUMBER_ID

WORDS = (
    *("quick",) * 46,
    *("several",) * 6,
    *("flaky",) * 16,
    *("broken",) * 5,
    *("hanging",) * 3,
    *("late",) * 6,
    *("hello",) * 8,
    *("bye",) * 6,
    *("[reaction]",) * 2,
    *("[image]",) * 2,
)

FIRST_TIME = 1_767_225_600
"""The channel's clock, in seconds, when a contact's first message was written; each is a second after the last."""

IN_FLIGHT = 24
LONGEST_PAUSE = 0.5


@dataclass
class WrittenMessage:
    """One message of a contact, and what the driver saw of it (by its own clock)."""

    wamid: str
    phone: str
    number: int
    word: str
    first_sent: float | None = None
    accepted: float | None = None

    def item(self, picture: str) -> dict[str, Any]:
        """The message as Meta writes it; *picture* is the media id of what it shows."""
        whole: dict[str, Any] = {"from": self.phone, "id": self.wamid, "timestamp": str(FIRST_TIME + self.number)}
        if self.word == "[reaction]":
            # To what they wrote before, which may come after it.
            target = f"{self.wamid[:-5]}{self.number - 1:05d}"
            return {**whole, "type": "reaction", "reaction": {"message_id": target, "emoji": "👍"}}
        if self.word == "[image]":
            return {**whole, "type": "image", "image": {"id": picture, "mime_type": "image/png"}}
        return {**whole, "type": "text", "text": {"body": self.word}}


@dataclass
class Traffic:
    """What *contacts* write, *messages* in all, as often and in the order in which the channel delivers it."""

    seed: int
    contacts: int
    messages: int
    written: list[WrittenMessage] = field(default_factory=list)
    posts: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        numbers = [0] * self.contacts
        for _ in range(self.messages):
            contact = chance.randrange(self.contacts)
            numbers[contact] += 1
            word = chance.choice(WORDS)
            self.written.append(
                WrittenMessage(
                    wamid=f"wamid.{contact:04d}-{numbers[contact]:05d}",
                    phone=f"43660{contact:07d}",
                    number=numbers[contact],
                    word="hello" if word == "[reaction]" and numbers[contact] == 1 else word,
                )
            )

    def deliveries(self) -> list[list[WrittenMessage]]:
        """What is posted, in order: a few messages at a time, some twice or thrice, some before their time."""
        chance = random.Random(self.seed + 1)
        order = list(self.written)
        for place in range(len(order)):
            if chance.random() < 0.1:
                other = min(len(order) - 1, place + chance.randrange(1, 2 * self.contacts))
                order[place], order[other] = order[other], order[place]
        posts: list[list[WrittenMessage]] = []
        while order:
            size = chance.choice((1, 1, 1, 2, 4))
            posts.append(order[:size])
            del order[:size]
        for post in list(posts):
            for _ in range(chance.choice((0, 0, 0, 0, 1, 2))):
                posts.insert(chance.randrange(len(posts) + 1), post)
        return posts

    async def run(self, webhooks: Sequence[str], picture: str, *, per_second: float) -> None:
        """Post everything at that pace, and come back once all of it was accepted."""
        chance = random.Random(self.seed + 2)
        slots = asyncio.Semaphore(IN_FLIGHT)
        limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        begun = time.monotonic()
        async with (
            httpx.AsyncClient(timeout=20.0, trust_env=False, limits=limits) as client,
            asyncio.TaskGroup() as all_,
        ):
            sent = 0
            for post in self.deliveries():
                await slots.acquire()
                await asyncio.sleep(begun + sent / per_second - time.monotonic())
                sent += len(post)
                task = all_.create_task(self._deliver(client, chance.choice(webhooks), post, picture))
                task.add_done_callback(lambda _: slots.release())

    async def _deliver(self, client: httpx.AsyncClient, url: str, post: list[WrittenMessage], picture: str) -> None:
        body = self._body(post, picture)
        headers = {"X-Hub-Signature-256": sign(body, APP_SECRET), "Content-Type": "application/json"}
        pause = 0.05
        while True:
            self.posts += 1
            for message in post:
                message.first_sent = message.first_sent or time.monotonic()
            try:
                status = (await client.post(url, content=body, headers=headers)).status_code
            except httpx.HTTPError:
                status = 0
            if status == 200:
                for message in post:
                    message.accepted = message.accepted or time.monotonic()
                return
            assert status == 0 or status >= 500, f"the webhook refused a signed delivery with {status}"
            self.refused += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _body(self, post: list[WrittenMessage], picture: str) -> bytes:
        people = [{"profile": {"name": f"Contact {m.phone}"}, "wa_id": m.phone} for m in post]
        value = {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
            "contacts": people,
            "messages": [message.item(picture) for message in post],
        }
        changes = [{"field": "messages", "value": value}]
        return json.dumps(
            {"object": "whatsapp_business_account", "entry": [{"id": "555000", "changes": changes}]}
        ).encode()
