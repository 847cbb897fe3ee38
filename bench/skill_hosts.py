"""What skill hosts cost, and what they are for: calls beside those in the worker's own process, and the time from the
webhook to the reply with and without skills beside that block and end their process."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx

from bench.harness import Result, compare, percentile
from bench.installation import APP_SECRET, PHONE_NUMBER_ID, BenchInstallation, open_installation
from bench.shop import SHOP
from dragoman.dispatch.effects import InvokeSkill, SkillReturned
from dragoman.jobs import worker
from dragoman.skills.hosts.host_process import HostPlan
from dragoman.skills.hosts.hosting import HostedSkills
from dragoman.skills.invoker import InProcessSkills, SkillInvoker
from dragoman.web.app import create_app

AT_ONCE = 64
RATE = 20


def _now() -> datetime:
    return datetime.now(UTC)


def _hosted() -> HostedSkills:
    return HostedSkills(_now, plan=HostPlan(modules=("bench.shop",)))


def _call(skill: str) -> InvokeSkill:
    return InvokeSkill(
        skill=skill,
        skill_version="1",
        parameters={"number": "VF-12345"},
        attempt=1,
        timeout_seconds=10,
        idempotency_key="0193e7a0-0000-7000-8000-000000000000:bench.quick",
        contact_id=UUID(int=1),
        locale="en",
    )


async def _one_by_one(skills: SkillInvoker, count: int) -> list[float]:
    """Milliseconds of each call."""
    took: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        result = await skills.invoke(_call("bench.quick"))
        took.append((time.perf_counter() - begun) * 1000)
        assert isinstance(result, SkillReturned), result
    return took


async def _at_once(skills: SkillInvoker, skill: str, count: int) -> float:
    """Calls a second, so many at once."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            assert isinstance(await skills.invoke(_call(skill)), SkillReturned)

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - begun)


def _memory(pid: int) -> float:
    """Megabytes that are this process's share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return 0.0
    return next(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:")) / 1024


async def _calls(*, quick: bool) -> list[Result]:
    count, runs = (300, 1) if quick else (2000, 5)
    hosted, inside = _hosted(), InProcessSkills(SHOP, _now)
    begun = time.perf_counter()
    await hosted.specs()
    start = time.perf_counter() - begun
    await _at_once(hosted, "bench.quick", 200)
    names = ("p50", "p95", "rate", "rate of skills that take 50 ms")
    figures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    sides: tuple[SkillInvoker, SkillInvoker] = (hosted, inside)
    for _ in range(runs):
        for side, skills in enumerate(sides):
            took = await _one_by_one(skills, count)
            figures["p50"][side].append(percentile(took, 0.5))
            figures["p95"][side].append(percentile(took, 0.95))
            figures["rate"][side].append(await _at_once(skills, "bench.quick", count * 2))
            figures["rate of skills that take 50 ms"][side].append(await _at_once(skills, "bench.waits", count))
    memory = max(_memory(pid) for pid in hosted.processes.values())
    await hosted.close()
    return [
        compare(
            f"a skill call in a host, {name}",
            unit="calls/s" if "rate" in name else "ms",
            ours=ours,
            peer=peer,
            peer_name="the same call in the worker's process",
            higher_is_better="rate" in name,
            note=f"first host ready after {start:.2f} s; {memory:.0f} MB each",
        )
        for name, (ours, peer) in figures.items()
    ]


class _Line:
    """Meta's side: notes when each contact was answered."""

    def __init__(self) -> None:
        self.answered: dict[str, float] = {}

    def take(self, request: httpx.Request) -> httpx.Response:
        to = json.loads(request.content).get("to", "")
        self.answered.setdefault(to.lstrip("+"), time.perf_counter())
        wamid = f"wamid.{hashlib.sha1(request.content).hexdigest()}"
        return httpx.Response(200, json={"contacts": [{"wa_id": to}], "messages": [{"id": wamid}]})


async def _say(client: httpx.AsyncClient, phone: str, text: str) -> None:
    message = {"from": phone, "id": f"wamid.{phone}", "timestamp": str(int(time.time())), "type": "text"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": [{"profile": {"name": phone}, "wa_id": phone}],
        "messages": [{**message, "text": {"body": text}}],
    }
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    response = await client.post(
        "/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": f"sha256={digest}"}
    )
    assert response.status_code == 200, response.text


async def _stream(client: httpx.AsyncClient, line: _Line, first: int, seconds: float) -> list[float]:
    """New contacts write at a steady rate; milliseconds until each has its reply."""
    said: dict[str, float] = {}
    posts: list[asyncio.Task[None]] = []
    for number in range(int(RATE * seconds)):
        phone = f"43660{first + number:07d}"
        said[phone] = time.perf_counter()
        posts.append(asyncio.create_task(_say(client, phone, "waits" if number % 2 else "quick")))
        await asyncio.sleep(1 / RATE)
    await asyncio.gather(*posts)
    while not said.keys() <= line.answered.keys():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return [(line.answered[phone] - at) * 1000 for phone, at in said.items()]


async def _hostile(client: httpx.AsyncClient, first: int) -> None:
    """Every second somebody wants a skill that blocks its process, and somebody one that ends it."""
    while True:
        for text in ("blocks", "exits"):
            first += 1
            await _say(client, f"43660{first:07d}", text)
        await asyncio.sleep(1)


async def _served(
    made: BenchInstallation, line: _Line, *, seconds: float, runs: int
) -> tuple[list[float], list[float], list[list[float]]]:
    """p95 of the stream beside hostile skills and without, and all times beside them."""
    beside: list[float] = []
    without: list[float] = []
    times: list[list[float]] = []
    transport = httpx.ASGITransport(create_app(made.runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        await _stream(client, line, 0, 1)
        for number in range(1, runs + 1):
            without.append(percentile(await _stream(client, line, number * 100_000, seconds), 0.95))
            trouble = asyncio.create_task(_hostile(client, number * 100_000 + 50_000))
            times.append(await _stream(client, line, number * 100_000 + 20_000, seconds))
            beside.append(percentile(times[-1], 0.95))
            trouble.cancel()
            await asyncio.wait({trouble})
    return beside, without, times


async def _beside_hostile(*, quick: bool) -> list[Result]:
    line, hosted = _Line(), _hosted()
    async with open_installation(hosted, httpx.MockTransport(line.take)) as made:
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(made.runtime, made.urls.application, stop))
        try:
            beside, without, times = await _served(made, line, seconds=3 if quick else 15, runs=1 if quick else 3)
        finally:
            stop.set()
            await working
            await hosted.close()
    worst = max(max(run) for run in times)
    return [
        compare(
            "webhook to reply beside hostile skills, p95",
            unit="ms",
            ours=beside,
            peer=without,
            peer_name="the same stream alone",
            note=f"{RATE} messages/s of others; the slowest of them took {worst:,.0f} ms",
        )
    ]


async def run(*, quick: bool) -> list[Result]:
    """Both parts."""
    return [*await _calls(quick=quick), *await _beside_hostile(quick=quick)]
