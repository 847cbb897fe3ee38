"""No text, name, number, code or token of anybody is in a log line, whatever fails.

Everything that could be in a line is marked. Failures are put in where they come from: into every job, every schedule,
every table and every route, so that a new one is among them by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi.routing import iter_route_contexts
from pgqueuer import PgQueuer

from dragoman.channels.whatsapp.signature import sign
from dragoman.jobs import worker
from dragoman.jobs.entrypoints import ENTRYPOINTS
from dragoman.jobs.immediate import ImmediateQueue
from dragoman.jobs.queue import PgQueue
from dragoman.jobs.run_job import run_job
from dragoman.ledger import append
from dragoman.runtime import Job
from dragoman.services import sweep
from dragoman.services.access import password_reset
from dragoman.services.audit import checkpoints
from dragoman.services.contacts import erase_contact
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.exports import background_exports
from dragoman.services.retention import apply_retention
from dragoman.skills import SkillContext, skill
from dragoman.skills.hosts.host_process import HostPlan
from dragoman.skills.hosts.hosting import HostedSkills
from dragoman.store.accounts import api_tokens, user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Database, owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.live import hub
from tests import harness
from tests.harness import PHONE_NUMBER_ID, Harness
from tests.little_shop import Calls, little_shop
from tests.log_output import everything_said
from tests.pipeline.test_statuses import status
from tests.waiting import eventually

TEXT, NAME, NUMBER = "Kanarienvogel", "Quastenflosser", "447700900345"
CODE, FILE, TAG, NOTE = "918273", "Seepferdchen", "Nasenbaer", "Schuppentier"
PASSWORD, EMAIL, QUERY = "Haubentaucher-77", "wiedehopf@zoo.example", "Ameisenloewe"
MARKS = (
    TEXT, NAME, NUMBER[:-1], CODE, FILE, TAG, NOTE, PASSWORD, EMAIL, QUERY,
    harness.TOKEN, harness.APP_SECRET, harness.VERIFY_TOKEN,
)  # fmt: skip
ALL = " ".join(MARKS)

Said = Callable[[], str]


class MarkedError(Exception):
    """Has everything in its message, as exceptions of libraries do."""


def fail(*_: object, **__: object) -> Any:
    try:
        raise StopIteration({"text": ALL})
    except StopIteration as error:
        raise MarkedError(f"it broke: {ALL}") from error


async def fail_later(*_: object, **__: object) -> Any:
    fail()


def assert_silent(said: str) -> None:
    lines = said.splitlines()
    assert [line[:500] for line in lines if any(mark in line for mark in MARKS)] == []
    assert max(map(len, lines), default=0) < 5000


@pytest.fixture(params=["text", "json"])
def said(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """All output of the process; at the end, none of the marks is in it."""
    with everything_said(request.param, capfd) as so_far:
        yield so_far
        assert_silent(so_far())


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


async def test_jobs_and_schedules_that_fail(
    database: Database, database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    """Each entry point and each schedule, run by a real worker through the real queue."""
    schedules: list[str] = []
    before = PgQueuer.schedule

    def often(self: PgQueuer, name: str, _expression: str, **how: Any) -> Any:
        schedules.append(name)
        return before(self, name, "* * * * * */1", **how)

    monkeypatch.setattr(PgQueuer, "schedule", often)
    for module, names in (
        (sweep, ("expire_everywhere", "trim_changes", "probe_channels", "clean_up")),
        (checkpoints, ("make_where_due",)),
        (worker, ("verify_everywhere", "_retain")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, fail_later)
    sweeps = 0

    async def once(*_: object) -> None:
        # The worker sweeps before it begins, and would not begin.
        nonlocal sweeps
        sweeps += 1
        if sweeps > 1:
            fail()

    monkeypatch.setattr(sweep, "requeue_overdue", once)
    monkeypatch.setattr("dragoman.jobs.run_job.ENTRYPOINTS", dict.fromkeys(ENTRYPOINTS, fail_later))
    async with harness.build(database, tmp_path, little_shop(Calls()), queue=PgQueue()) as shop:
        stop = asyncio.Event()
        jobs = [Job(entrypoint=name, tenant_id=shop.tenant_id, key=uuid4()) for name in ENTRYPOINTS]
        async with database.tenant(shop.tenant_id) as connection:
            await shop.queue.enqueue(connection, jobs)
        running = asyncio.create_task(
            worker.run(shop.runtime, database_urls.application, stop, owner_url=database_urls.owner)
        )
        await eventually(lambda: all(f"{name}" in said() for name in (*ENTRYPOINTS, "MarkedError")))
        await eventually(lambda: sweeps > 1 and said().count("MarkedError") >= len(ENTRYPOINTS) + len(set(schedules)))
        stop.set()
        await running
    assert len(set(schedules)) >= 7


async def run_jobs(shop: Harness) -> None:
    """As the worker does it: what fails is logged, and somebody else's work goes on."""
    queue = shop.queue
    assert isinstance(queue, ImmediateQueue)
    while (waiting := queue._next()) is not None:
        queue._jobs.remove(waiting)
        job = waiting.job
        await run_job(shop.runtime, job.entrypoint, job.tenant_id, job.key)
        await shop.standin.drain()


REFUSE = """
CREATE FUNCTION public.refuse_marked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused: %', to_jsonb(NEW) USING DETAIL = 'Failing row contains ' || to_jsonb(NEW)::text,
  ERRCODE = 'check_violation', HINT = to_jsonb(NEW)::text; END $$
"""


async def _messages(shop: Harness) -> None:
    """A contact writes in every way that makes rows."""
    await shop.say(f"answer {TEXT} {CODE}", phone=NUMBER, name=NAME)
    await run_jobs(shop)
    picture = await shop.upload(b"\x89PNG no picture", "image/png")
    await shop.send(
        {"type": "document", "document": {"id": picture, "filename": f"{FILE}.png", "caption": f"slow {TEXT}",
         "mime_type": "image/png"}},
        phone=NUMBER, name=NAME,
    )  # fmt: skip
    await run_jobs(shop)
    await shop.post(status(f"wamid.{TEXT}", "failed", int(shop.clock.now().timestamp())))
    await run_jobs(shop)


async def test_tables_that_refuse_a_row(
    shop: Harness, calls: Calls, database_urls: DatabaseURLs, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each table of the database in turn refuses to be written, and says what with, while a contact writes."""
    calls.go_on.set()
    monkeypatch.setattr("dragoman.services.dispatching.handle_inbound.COMMIT_PAUSE_SECONDS", 0.01)
    async with owner_connection(database_urls.owner) as owner:
        await owner.execute(REFUSE)
        await _messages(shop)
        tables = [
            row["relname"]
            for row in await owner.fetch(
                "SELECT c.relname FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition "
                "AND relnamespace = 'public'::regnamespace AND relowner = current_user::regrole ORDER BY 1"
            )
        ]
        refused = set()
        for table in tables:
            await owner.execute(
                f"CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_marked()"
            )
            failed = said().count("CheckViolationError")
            with contextlib.suppress(AssertionError):  # the stand-in was not answered 200
                await _messages(shop)
            await sweep.requeue_overdue(shop.runtime)
            await run_jobs(shop)
            if said().count("CheckViolationError") > failed:
                refused.add(table)
            await owner.execute(f"DROP TRIGGER refused ON {table}")
            shop.clock.move(seconds=60)
            await sweep.requeue_overdue(shop.runtime)
            await run_jobs(shop)
    assert refused >= {"mailbox", "message", "audit_event", "outbox_entry", "raw_delivery", "session", "media_file"}


@dataclass
class LetInVisitor:
    """Somebody who may do everything, by browser or by program."""

    headers: dict[str, str]


@pytest.fixture
async def visitor(shop: Harness) -> LetInVisitor:
    now = shop.clock.now()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await user_accounts.create_user(
            connection, shop.tenant_id, user_id=uuid4(), email=EMAIL, name=NAME, password=PASSWORD,
            role="administrator", now=now,
        )  # fmt: skip
        token = await api_tokens.create_token(
            connection, shop.tenant_id, token_id=uuid4(), name="script", role="administrator", now=now,
            expires_at=now + timedelta(days=365),
        )  # fmt: skip
    return LetInVisitor({"Authorization": f"Bearer {token}"})


async def _ask_everything(shop: Harness, visitor: LetInVisitor) -> int:
    """Ask each route by each method, with marks in path, query, form, body and headers."""
    asked = 0
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(shop.app, raise_app_exceptions=False), base_url="http://dragoman.test"
    )
    async with client:
        for route in iter_route_contexts(shop.app.routes):
            for method in sorted(route.methods or ()):
                path = re.sub(r"\{(\w*id)(?::\w+)?\}", str(uuid4()), route.path or "")
                path = re.sub(r"\{\w+(?::\w+)?\}", TAG, path)
                for body in ({"data": _form()}, {"json": _form()}, {"content": ALL.encode() + b"\xff"}):
                    if method == "GET" and "data" not in body:
                        continue
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(2):
                            await client.request(
                                method, path, params={"q": QUERY, "phone": NUMBER, "next": f"/{TAG}"},
                                headers={**visitor.headers, "User-Agent": TEXT, "X-Request-ID": TEXT},
                                **({} if method in {"GET", "HEAD"} else body),
                            )  # fmt: skip
                    asked += 1
    return asked


def _form() -> dict[str, str]:
    return {
        "email": EMAIL, "password": PASSWORD, "code": CODE, "name": NAME, "note": NOTE, "text": NOTE, "tag": TAG,
        "phone": NUMBER, "query": f"q={QUERY}", "pattern": f"({TEXT}", "next": f"/{TAG}", "reason": NOTE,
    }  # fmt: skip


async def test_routes_that_are_asked_for_nonsense(shop: Harness, visitor: LetInVisitor, said: Said) -> None:
    assert await _ask_everything(shop, visitor) > 60
    assert said().count("request") > 60


async def test_routes_that_fail(
    shop: Harness, visitor: LetInVisitor, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses whatever is asked of it, once they are let in."""
    allowed = Database.tenant

    @contextlib.asynccontextmanager
    async def broken(self: Database, *arguments: Any, **how: Any) -> AsyncIterator[Any]:
        async with allowed(self, *arguments, **how) as connection:
            yield connection
        fail()

    monkeypatch.setattr(Database, "tenant", broken)
    await _ask_everything(shop, visitor)
    assert said().count("request failed") > 60


async def test_deliveries_that_are_no_good(shop: Harness, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in (b"{" + ALL.encode(), ALL.encode() + b"\xff", json.dumps({"object": ALL}).encode()):
        assert (await shop.post(body)).status_code in {200, 400}
        assert (await shop.post(body, secret=f"wrong-{TEXT}")).status_code == 401
        await shop.web.post("/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": ALL})
    await shop.web.get("/webhooks/whatsapp", params={"hub.mode": "subscribe", "hub.verify_token": TEXT})
    with monkeypatch.context() as patched:
        patched.setattr("dragoman.services.inbound.accept_delivery.ingest", fail_later)
        body = status(f"wamid.{TEXT}", "sent", int(shop.clock.now().timestamp()))
        answer = await shop.web.post(
            "/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": sign(body, harness.APP_SECRET)}
        )
        assert answer.status_code == 500
    assert "request failed" in said()


@skill(name="test.raises", label="Raises", version="1", phrases={}, keywords=["raise"])
async def raises(context: SkillContext) -> str:
    raise MarkedError(ALL)


@skill(name="test.answers", label="Answers", version="1", phrases={}, keywords=["wrong"])
async def answers(context: SkillContext) -> str:
    return {"replies": ALL}  # type: ignore[return-value]


@skill(name="test.prints", label="Prints", version="1", phrases={}, keywords=["print"])
async def prints(context: SkillContext) -> str:
    print(ALL)  # noqa: T201
    asyncio.get_running_loop().create_task(fail_later())
    return "printed"


@skill(name="test.dies", label="Dies", version="1", phrases={}, keywords=["die"])
async def dies(context: SkillContext) -> str:
    print(ALL, flush=True)  # noqa: T201
    raise SystemExit(ALL)


@skill(name="test.waits", label="Waits", version="1", phrases={}, keywords=["wait"], timeout=0.2)
async def waits(context: SkillContext) -> str:
    try:
        await asyncio.sleep(600)
    finally:
        fail()
    return "never"


async def test_skills_that_misbehave(database: Database, tmp_path: Path, said: Said) -> None:
    """In processes of their own, as in an installation."""
    hosted = HostedSkills(lambda: harness.MovableClock().now(), hosts=1, plan=HostPlan(modules=(__name__,)))
    async with harness.build(database, tmp_path, hosted) as shop:
        for word in ("raise", "wrong", "print", "die", "wait"):
            await shop.say(f"{word} {TEXT}", phone=NUMBER, name=NAME)
            await run_jobs(shop)
        dispatched = {row["type"] for row in await shop.rows("SELECT type FROM audit_event")}
        await hosted.close()
    assert "skill.failed" in dispatched
    assert "skill_output_withheld" in said()


async def close_circuit(shop: Harness) -> None:
    """As if the channel had answered meanwhile: the next message is tried, too."""
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET failures = 0, open_since = NULL")


async def test_a_channel_that_refuses_or_is_away(
    shop: Harness, calls: Calls, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    phones = (f"{NUMBER[:-1]}{last}" for last in range(10))
    send = httpx.AsyncClient.send
    raised: list[Exception] = [
        httpx.ConnectError(ALL), httpx.ReadTimeout(ALL), httpx.RemoteProtocolError(ALL), MarkedError(ALL),
        asyncpg.InterfaceError(ALL), KeyError(ALL),
    ]  # fmt: skip
    for error in raised:

        async def away(self: httpx.AsyncClient, request: httpx.Request, **how: Any) -> httpx.Response:
            if self is shop.runtime.http and PHONE_NUMBER_ID in str(request.url):
                raise error  # noqa: B023
            return await send(self, request, **how)

        with monkeypatch.context() as patched:
            patched.setattr(httpx.AsyncClient, "send", away)
            await shop.say(f"answer {TEXT}", phone=next(phones), name=NAME)
            await run_jobs(shop)
            await close_circuit(shop)
    for code in (131000, 131026, 100, 190):
        await shop.graph.post("/control", json={"rules": [{"match": {"type": "text"}, "times": 1, "error": code}]})
        await shop.say(f"answer {TEXT}", phone=next(phones), name=NAME)
        await run_jobs(shop)
    results = {row["result"] for row in await shop.rows("SELECT result FROM outbox_attempt")}
    assert results >= {"refused", "unanswered"}


async def test_retention_erasure_exports_mail_and_the_live_stream_that_fail(
    shop: Harness, visitor: LetInVisitor, database_urls: DatabaseURLs, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.say(f"answer {TEXT}", phone=NUMBER, name=NAME)
    await run_jobs(shop)
    stream = hub.Hub(shop.runtime.database)
    here = (await stream.read(shop.tenant_id, None)).place
    monkeypatch.setattr(stream, "read", fail_later)
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.01)
    stream._channels[shop.tenant_id] = hub.ChannelFeed(here)
    polling = asyncio.create_task(stream._poll())
    await eventually(lambda: "live_poll_failed" in said())
    polling.cancel()
    asked = await shop.web.post("/api/v1/exports", json={"format": "csv", "name": TEXT}, headers=visitor.headers)
    assert asked.status_code in {201, 202, 422}, asked.text
    with monkeypatch.context() as patched:
        patched.setattr(background_exports, "_write", fail_later)
        await run_jobs(shop)
    async with owner_connection(database_urls.owner) as owner:
        (contact,) = await shop.rows("SELECT contact_id FROM contact")
        for path, act in (
            ("dragoman.ledger.retention.delete", lambda: apply_retention.run(shop.runtime, owner, by_whom="test")),
            (
                "dragoman.store.contacts.erasure.erase",
                lambda: erase_contact.erase_contact(
                    shop.runtime, owner, shop.tenant_id, contact["contact_id"], reason="x",
                    by=Administrator("Dora Officer"),
                ),
            ),
        ):  # fmt: skip
            with monkeypatch.context() as patched:
                patched.setattr(path, fail_later)
                patched.setattr("dragoman.jobs.run_job.ENTRYPOINTS", {"settle_contact": lambda *_: act()})  # noqa: B023
                shop.clock.move(days=100)
                await run_job(shop.runtime, "settle_contact", shop.tenant_id, uuid4())
    with monkeypatch.context() as patched:
        patched.setattr("dragoman.services.access.password_reset.password_resets.begin", fail_later)
        await run_job(shop.runtime, password_reset.ENTRYPOINT, shop.tenant_id, uuid4())
    assert said().count("MarkedError") >= 3
