"""What anonymous clients can make the web process do: no more than a bounded piece of work each."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import structlog
from fastapi import FastAPI

from dragoman.channels.whatsapp.channel import WhatsApp
from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Runtime
from dragoman.services.inbound import accept_delivery
from dragoman.services.inbound.accept_delivery import DeliveryRefused
from dragoman.store.accounts import user_accounts
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman.web.live import hub
from tests.listener import listening
from tests.waiting import eventually, patience

from .tenant_fixture import PASSWORD, TenantFixture, bearer

ACCOUNTS = 302
LARGE = 4 * 1024 * 1024
WRONG = "sha256=" + "0" * 64


def delivery(phone_number_id: str, waba_id: str, *, size_bytes: int = 0) -> bytes:
    message = {"from": "436601234567", "id": f"wamid.{uuid4()}", "timestamp": "1700000000", "type": "text"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "4310000", "phone_number_id": phone_number_id},
        "messages": [{**message, "text": {"body": "x" * size_bytes}}],
    }
    entry = {"id": waba_id, "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def sign(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Hashings:
    """Which secrets were tried, and by which thread."""

    secrets: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> Hashings:
    seen, is_signed = Hashings(), WhatsApp.is_signed

    def counted(self: WhatsApp, body: bytes, signature: str | None, secret: str) -> bool:
        seen.secrets.append(secret)
        seen.threads.add(threading.get_ident())
        return is_signed(self, body, signature, secret)

    monkeypatch.setattr(WhatsApp, "is_signed", counted)
    return seen


@pytest.fixture
async def many_numbers(runtime: Runtime, tenant: TenantFixture) -> None:
    """As many tenants as numbers, each number of an app of its own."""
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET disabled_at = now()")
    for number in range(ACCOUNTS):
        owner = uuid4()
        credentials = WhatsAppCredentials(token="t", app_secret=f"secret {number}", verify_token="v")
        async with runtime.database.tenant(owner) as connection:
            await channel_accounts.add(
                connection, owner,
                ChannelAccount(
                    channel_account_id=uuid4(), channel="whatsapp", address=f"7{number:05d}", display=f"+{number}",
                    name="N", secrets=runtime.keyring.encrypt(credentials.to_bytes()),
                ),
                waba_id=f"8{number:05d}", now=runtime.clock.now(),
            )  # fmt: skip


@pytest.mark.usefixtures("many_numbers")
@pytest.mark.parametrize("claims", [("700007", "800007"), ("1", "800007"), ("1", "2")], ids=["number", "owner", "none"])
async def test_h6_a_large_body_wrongly_signed_costs_two_hashings_and_not_one_for_each_account(
    runtime: Runtime, hashings: Hashings, claims: tuple[str, str]
) -> None:
    refused = await accept_delivery.accept(runtime, delivery(*claims, size_bytes=LARGE), WRONG)
    assert isinstance(refused, DeliveryRefused)
    assert 1 <= len(hashings.secrets) <= 2
    assert threading.get_ident() not in hashings.threads, "others are answered while a large body is hashed"


@pytest.mark.usefixtures("many_numbers")
async def test_the_number_that_a_delivery_claims_chooses_the_secret(runtime: Runtime, hashings: Hashings) -> None:
    for number in (0, 7, ACCOUNTS - 1):
        hashings.secrets.clear()
        body = delivery(f"7{number:05d}", f"8{number:05d}", size_bytes=LARGE)
        taken = await accept_delivery.accept(runtime, body, sign(body, f"secret {number}"))
        assert not isinstance(taken, DeliveryRefused)
        assert hashings.secrets == [f"secret {number}"]


@pytest.mark.usefixtures("many_numbers")
async def test_who_claims_another_number_is_not_believed(runtime: Runtime) -> None:
    body = delivery("700007", "800007")
    assert isinstance(await accept_delivery.accept(runtime, body, sign(body, "secret 8")), DeliveryRefused)


@pytest.mark.usefixtures("many_numbers")
async def test_a_delivery_for_a_number_that_is_not_set_up_is_its_signers(runtime: Runtime) -> None:
    body = delivery("1", "2")
    assert not isinstance(await accept_delivery.accept(runtime, body, sign(body, "secret 9")), DeliveryRefused)


@pytest.mark.usefixtures("many_numbers")
async def test_wrong_signatures_at_once_do_not_read_the_accounts_each_for_itself(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, receivers = 0, channel_accounts.receivers

    async def counted(*given: Any) -> Any:
        nonlocal reads
        reads += 1
        return await receivers(*given)

    monkeypatch.setattr(channel_accounts, "receivers", counted)
    monkeypatch.setattr(accept_delivery, "FRESH_SECONDS", 2.0)
    body = delivery("1", "2")
    async with patience():
        await asyncio.gather(*(accept_delivery.accept(runtime, body, WRONG) for _ in range(60)))
    assert reads < 10


@pytest.mark.parametrize("signature", [None, "", "sha256=", "sha256=" + "zz" * 32, "sha1=" + "0" * 40, WRONG + "0"])
async def test_h6_the_body_is_not_read_where_the_signature_has_not_even_the_form(
    app: FastAPI, signature: str | None
) -> None:
    status = 0

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body is read")

    async def send(message: Any) -> None:
        nonlocal status
        status = status or message.get("status", 0)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"4000000")]
    if signature is not None:
        headers.append((b"x-hub-signature-256", signature.encode()))
    scope = {
        "type": "http", "method": "POST", "path": "/webhooks/whatsapp", "raw_path": b"", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "headers": headers, "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    await app(scope, receive, send)
    assert status == 401


def client_at(app: FastAPI, address: str, base_url: str = "http://127.0.0.1:8000") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 4)), base_url=base_url)


@dataclass
class SlowHashing:
    """Password checks that last until they are let go on."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0

    async def check(self, password_hash: str, password: str) -> bool:
        del password_hash
        self.begun += 1
        await self.go_on.wait()
        return password == PASSWORD


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> SlowHashing:
    slow = SlowHashing()
    monkeypatch.setattr(user_accounts, "verify_password", slow.check)
    return slow


def attempt(client: httpx.AsyncClient, number: int) -> asyncio.Task[httpx.Response]:
    data = {"email": f"nobody{number}@house.example", "password": "a guess"}
    return asyncio.create_task(client.post("/login", data=data))


async def test_h6_logins_beyond_a_short_queue_are_told_to_come_again(app: FastAPI, hashing: SlowHashing) -> None:
    async with client_at(app, "192.0.2.1") as client, patience():
        tasks = [attempt(client, number) for number in range(150)]
        await eventually(lambda: sum(task.done() for task in tasks) >= 140)
        busy = [task.result() for task in tasks if task.done()]
        assert {answer.status_code for answer in busy} == {503}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in busy)
        hashing.go_on.set()
        answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} == {401, 503}
    assert hashing.begun == sum(answer.status_code == 401 for answer in answers) < 10


async def test_h6_many_anonymous_logins_do_not_keep_a_right_one_of_another_client_out(
    app: FastAPI, hashing: SlowHashing, tenant: TenantFixture
) -> None:
    user = await tenant.user("auditor")
    clients = [client_at(app, f"192.0.2.{number}") for number in range(1, 6)]
    async with client_at(app, "198.51.100.1") as good, patience():
        tasks = [attempt(client, number) for client in clients for number in range(30)]
        await eventually(lambda: sum(task.done() for task in tasks) >= 130)
        right = asyncio.create_task(good.post("/login", data={"email": user.email, "password": PASSWORD}))
        await eventually(lambda: sum(task.done() for task in tasks) >= 133)
        assert not right.done(), "it has a place, which somebody else lost"
        hashing.go_on.set()
        assert (await right).status_code == 303
        await asyncio.gather(*tasks)
    for client in clients:
        await client.aclose()


async def test_failed_logins_are_counted_for_all_processes_together(runtime: Runtime, tenant: TenantFixture) -> None:
    user = await tenant.user("auditor")
    wrong = {"email": user.email, "password": "wrong"}
    async with client_at(create_app(runtime), "192.0.2.1") as one, client_at(create_app(runtime), "192.0.2.1") as two:
        for _ in range(5):
            assert (await one.post("/login", data=wrong)).status_code == 401
        assert (await two.post("/login", data=wrong)).status_code == 429


@pytest.mark.parametrize("path", ["/", "/login", "/nothing", "/api/v1/conversations", "/static/x"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "a@127.0.0.1", ""])
async def test_low_a_foreign_host_is_refused(client: httpx.AsyncClient, path: str, host: str) -> None:
    answer = await client.get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert "location" not in answer.headers


async def test_which_hosts_are_ours(runtime: Runtime) -> None:
    settings = runtime.settings.model_copy(
        update={"base_url": "https://bot.example.org", "other_hosts": ("also.example:99",)}
    )
    app = create_app(dataclasses.replace(runtime, settings=settings))
    async with client_at(app, "192.0.2.1") as far, client_at(app, "127.0.0.1") as near:
        for host in ("bot.example.org", "BOT.example.org:443", "bot.example.org.", "also.example"):
            assert (await far.get("/login", headers={"Host": host})).status_code == 200, host
        for host in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
            assert (await near.get("/login", headers={"Host": host})).status_code == 200, host
            assert (await far.get("/login", headers={"Host": host})).status_code == 421, host
        # Load balancers ask by address.
        assert (await far.get("/healthz", headers={"Host": "10.1.2.3:8000"})).status_code == 200
        twice = httpx.Request("GET", "http://127.0.0.1/login", headers=[("Host", "bot.example.org"), ("Host", "x")])
        assert (await far.send(twice)).status_code == 421


async def test_low_no_redirect_is_made_of_the_host(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    cookie = await tenant.cookie(await tenant.user("administrator"))
    for path in ("/login/", "/", "/logout/", "/settings/users/"):
        answer = await client.get(path, headers={"Host": "localhost", **cookie})
        assert answer.headers.get("location", "/").startswith("/"), path


async def test_low_browsers_are_told_to_come_back_encrypted(runtime: Runtime, client: httpx.AsyncClient) -> None:
    assert "strict-transport-security" not in (await client.get("/login")).headers
    settings = runtime.settings.model_copy(update={"base_url": "https://bot.example.org"})
    app = create_app(dataclasses.replace(runtime, settings=settings))
    async with client_at(app, "192.0.2.1", "https://bot.example.org") as browser:
        assert (await browser.get("/login")).headers["strict-transport-security"] == "max-age=31536000"


async def test_low_strangers_see_neither_metrics_nor_what_is_wrong(runtime: Runtime) -> None:
    app = create_app(runtime)
    strange: list[tuple[str, dict[str, str]]] = [
        ("192.0.2.1", {}),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}),
        ("127.0.0.1", {"Host": "evil.example"}),
    ]
    for address, headers in strange:
        async with client_at(app, address) as client:
            assert (await client.get("/metrics", headers=headers)).status_code == 401
            ready = await client.get("/readyz", headers=headers)
            assert (ready.status_code, ready.json()) == (200, {"status": "ok"})
    async with client_at(app, "127.0.0.1") as client:
        assert (await client.get("/metrics")).status_code == 200
        assert "checks" in (await client.get("/readyz")).json()


async def test_a_token_opens_metrics_from_anywhere_and_nothing_else_does(runtime: Runtime) -> None:
    settings = runtime.settings.model_copy(update={"metrics_token": "a token"})
    app = create_app(dataclasses.replace(runtime, settings=settings))
    async with client_at(app, "192.0.2.1") as far, client_at(app, "127.0.0.1") as near:
        assert (await far.get("/metrics", headers=bearer("a token"))).status_code == 200
        assert "checks" in (await far.get("/readyz", headers=bearer("a token"))).json()
        for headers in ({}, bearer("another"), bearer("")):
            assert (await near.get("/metrics", headers=headers)).status_code == 401


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


async def test_low_request_logs_name_the_route_and_not_what_was_asked_for(
    client: httpx.AsyncClient, tenant: TenantFixture, lines: list[Any]
) -> None:
    headers = bearer(await tenant.token("administrator"))
    session_id = uuid4()
    canary = "4369912345"
    for method, path in (
        ("DELETE", f"/api/v1/conversations/{session_id}/review/tags/{canary}"),
        ("PUT", f"/api/v1/conversations/{session_id}/review/tags/{canary}"),
        ("GET", f"/api/v1/conversations?phone={canary}"),
        ("HEAD", f"/api/v1/conversations?phone={canary}"),
        ("GET", f"/nothing/{canary}"),
    ):
        await client.request(method, path, headers=headers)
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == 5
    assert canary not in str(lines)
    assert [line["route"] for line in requests[2:]] == ["/api/v1/conversations", "/api/v1/conversations", "none"]
    assert "{" in requests[0]["route"]


async def test_m8_one_users_streams_take_no_place_from_others(
    app: FastAPI, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_STREAMS_OF_HOLDER", 2)
    monkeypatch.setattr(hub, "MOST_STREAMS_OF_TENANT", 3)
    greedy, other = bearer(await tenant.token("auditor")), bearer(await tenant.token("auditor"))
    elsewhere = await TenantFixture.build(tenant.runtime, "elsewhere")
    foreign = bearer(await elsewhere.token("auditor"))
    async with listening(app, greedy) as first:
        async with listening(app, greedy) as second, listening(app, greedy) as third:
            assert (first.status, second.status, third.status) == (200, 200, 429)
            assert third.headers["retry-after"]
            async with (
                listening(app, other) as fourth,
                listening(app, other) as fifth,
                listening(app, foreign) as sixth,
            ):
                assert (fourth.status, fifth.status, sixth.status) == (200, 429, 200)
        async with listening(app, greedy) as again:
            assert again.status == 200


async def login_of(urls: DatabaseURLs, made: str) -> tuple[str, asyncpg.Connection[asyncpg.Record]]:
    """Make a login by the statement *made* and give its URL, and the superuser's connection to remove it with."""
    assert urls.superuser is not None
    name = f"login_{uuid4().hex[:12]}"
    superuser = await asyncpg.connect(urls.superuser)
    for statement in made.format(name=name, owner="dragoman_owner").split(";"):
        await superuser.execute(statement)
    return urls.application.replace("//dragoman_app@", f"//{name}@"), superuser


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("CREATE ROLE {name} LOGIN SUPERUSER", "is a superuser"),
        ("CREATE ROLE {name} LOGIN BYPASSRLS; GRANT dragoman_app TO {name}", "bypasses row-level security"),
        ("CREATE ROLE {name} LOGIN; GRANT dragoman_app, {owner} TO {name}", "owns the database or tables in it"),
        ("CREATE ROLE {name} LOGIN NOINHERIT; GRANT dragoman_app, {owner} TO {name}", "owns the database or tables"),
        ("CREATE ROLE {name} LOGIN CREATEROLE; GRANT dragoman_app TO {name}", "may make roles"),
    ],
)
async def test_m5_a_login_that_could_see_all_tenants_is_refused(
    database_urls: DatabaseURLs, made: str, said: str
) -> None:
    url, superuser = await login_of(database_urls, made)
    try:
        with pytest.raises(ConfigurationError) as refused:
            await Database.connect(url, minimum=1, maximum=1)
        assert said in str(refused.value)
        assert "CREATE ROLE dragoman_login LOGIN PASSWORD" in str(refused.value)
        assert "GRANT dragoman_app TO dragoman_login;" in str(refused.value)
    finally:
        await superuser.execute(f"DROP ROLE {url.split('//')[1].split('@')[0]}")
        await superuser.close()


async def test_m5_a_login_is_taken_that_is_made_as_the_error_tells(
    database_urls: DatabaseURLs,
) -> None:
    url, superuser = await login_of(database_urls, "CREATE ROLE {name} LOGIN; GRANT dragoman_app TO {name}")
    try:
        with pytest.raises(ConfigurationError, match="GRANT dragoman_app TO dragoman_login"):
            await Database.connect(database_urls.owner, minimum=1, maximum=1)
        database = await Database.connect(url, minimum=1, maximum=1)
        await database.close()
    finally:
        await superuser.execute(f"DROP ROLE {url.split('//')[1].split('@')[0]}")
        await superuser.close()
