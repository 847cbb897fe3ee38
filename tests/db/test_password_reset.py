"""A forgotten password: mail through a real SMTP server, a link that works once, and nothing told to strangers."""

from __future__ import annotations

import asyncio
import dataclasses
import email
import email.policy
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller

from dragoman.channels.email import smtp
from dragoman.channels.email.smtp import Smtp
from dragoman.domain.errors import ConfigurationError, MailError, NotFoundError
from dragoman.runtime import Job, Runtime
from dragoman.services.access import password_reset, second_factor
from dragoman.settings import Settings
from dragoman.store.accounts import user_accounts
from dragoman.web.app import create_app
from tests.ports import free_port
from tests.waiting import PATIENCE_S

from .conftest import RecordingQueue
from .tenant_fixture import PASSWORD, AdvancingClock, TenantFixture

NEW = "turquoise ladder sings at noon"


class Mailbox:
    """What the server took; ``refusals`` are answered first."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refusals: list[str] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusals:
            return self.refusals.pop(0)
        self.taken.append(envelope)
        return "250 taken"

    def text(self, number: int = -1) -> str:
        mail = email.message_from_bytes(self.taken[number].content, policy=email.policy.default)
        return str(mail.get_content())

    def link(self, number: int = -1) -> str:
        found = re.search(r"http://127\.0\.0\.1:8000(/login/reset\?token=[A-Za-z0-9_-]{43})\s", self.text(number))
        assert found is not None
        return found[1]


@dataclasses.dataclass
class ResetPlace:
    tenant: TenantFixture
    user: user_accounts.User
    runtime: Runtime
    clock: AdvancingClock
    queue: RecordingQueue
    mailbox: Mailbox
    browser: httpx.AsyncClient

    async def ask(self, address: str) -> httpx.Response:
        return await self.browser.post("/login/forgot", data={"email": address})

    async def work(self) -> None:
        jobs, self.queue.jobs = self.queue.jobs, []
        for job in jobs:
            assert job.entrypoint == password_reset.ENTRYPOINT
            await password_reset.send(self.runtime, job.tenant_id, job.key)

    async def choose(self, link: str, wanted: str = NEW, again: str | None = None) -> httpx.Response:
        token = link.partition("token=")[2]
        return await self.browser.post(
            "/login/reset", data={"token": token, "wanted": wanted, "again": wanted if again is None else again}
        )

    async def fits(self, password: str) -> bool:
        login = await user_accounts.find_login(self.runtime.database, self.user.email)
        return login is not None and await user_accounts.verify_password(login.password_hash, password)


@pytest.fixture
async def place(runtime: Runtime, clock: AdvancingClock) -> AsyncIterator[ResetPlace]:
    mailbox, queue = Mailbox(), RecordingQueue()
    port = free_port()
    server = Controller(mailbox, hostname="127.0.0.1", port=port, ready_timeout=PATIENCE_S)
    server.start()
    mailer = Smtp.from_url(f"smtp://127.0.0.1:{port}?from=keys@shop.example", base_url="http://127.0.0.1:8000")
    runtime = dataclasses.replace(runtime, clock=clock, queue=queue, mailer=mailer)
    tenant = await TenantFixture.build(runtime, "shop")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(runtime)), base_url="http://127.0.0.1:8000"
    ) as browser:
        yield ResetPlace(tenant, await tenant.user("auditor"), runtime, clock, queue, mailbox, browser)
    server.stop()


async def test_from_the_mail_to_another_password(place: ResetPlace) -> None:
    assert "Forgot your password?" in (await place.browser.get("/login")).text
    cookie = await place.tenant.cookie(place.user)
    await place.ask(f" {place.user.email.upper()} ")
    await place.work()
    (mail,) = place.mailbox.taken
    assert (mail.mail_from, mail.rcpt_tos) == ("keys@shop.example", [place.user.email])
    assert place.user.name in place.mailbox.text()
    link = place.mailbox.link()
    # Mail servers look at links before people do.
    for _ in range(2):
        assert (await place.browser.get(link)).status_code == 200
    done = await place.choose(link)
    assert (done.status_code, done.headers["location"]) == (303, "/login")
    assert "set-cookie" not in done.headers
    assert (await place.fits(NEW), await place.fits(PASSWORD)) == (True, False)
    assert (await place.browser.get("/account", headers=cookie)).status_code == 303
    for again in (await place.browser.get(link), await place.choose(link)):
        assert (again.status_code, "was used already" in again.text) == (404, True)
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT action FROM administrator_action")
        assert await connection.fetchval("SELECT count(*) FROM directory WHERE kind = 'password_reset'") == 0
    assert [row["action"] for row in rows] == ["user.password_reset_by_mail"]


async def test_strangers_learn_nothing(place: ResetPlace) -> None:
    known = await place.ask(place.user.email)
    for address in ("nobody@shop.example", "no address", "\x00", "a" * 5000 + "@b"):
        unknown = await place.ask(address)
        assert (unknown.status_code, unknown.text) == (known.status_code, known.text)
    assert len(place.queue.jobs) == 1
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        await user_accounts.disable_user(connection, place.tenant.tenant_id, place.user.user_id, now=place.clock.now())
    assert (await place.ask(place.user.email)).text == known.text
    await place.work()
    assert place.mailbox.taken == []


async def test_nobodys_mailbox_is_flooded(place: ResetPlace) -> None:
    for _ in range(3):
        assert (await place.ask(place.user.email)).status_code == 200
    answer = await place.ask(place.user.email)
    assert (answer.status_code, "Wait 1 second" in answer.text) == (429, True)
    for number in range(17):
        assert (await place.ask(f"n{number}@shop.example")).status_code == 200
    assert (await place.ask("another@shop.example")).status_code == 429


async def test_a_link_is_good_for_half_an_hour(place: ResetPlace) -> None:
    await place.ask(place.user.email)
    await place.work()
    place.clock.advance(minutes=29, seconds=59)
    assert (await place.browser.get(place.mailbox.link())).status_code == 200
    place.clock.advance(seconds=1)
    assert (await place.choose(place.mailbox.link())).status_code == 404
    assert await place.fits(PASSWORD)


async def test_one_password_ends_all_links(place: ResetPlace) -> None:
    for _ in range(2):
        await place.ask(place.user.email)
    await place.work()
    first, second = place.mailbox.link(0), place.mailbox.link(1)
    assert (await place.choose(second)).status_code == 303
    assert (await place.choose(first)).status_code == 404


async def test_of_two_at_once_one_sets_it(place: ResetPlace) -> None:
    await place.ask(place.user.email)
    await place.work()
    done = await asyncio.gather(*(place.choose(place.mailbox.link()) for _ in range(3)))
    assert sorted(answer.status_code for answer in done) == [303, 404, 404]


@pytest.mark.parametrize(
    ("wanted", "again", "said"),
    [("short", None, "at least 12"), (NEW, "something else", "do not match"), ("password1234", None, "guessed")],
)
async def test_a_bad_password_uses_nothing_up(place: ResetPlace, wanted: str, again: str | None, said: str) -> None:
    await place.ask(place.user.email)
    await place.work()
    answer = await place.choose(place.mailbox.link(), wanted, again)
    assert (answer.status_code, said in answer.text) == (422, True)
    assert (await place.choose(place.mailbox.link())).status_code == 303


async def test_the_second_factor_is_still_asked_for(place: ResetPlace) -> None:
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO second_factor (tenant_id, user_id, secret, made_at, confirmed_at) VALUES ($1, $2, $3, $4, $4)",
            *(place.tenant.tenant_id, place.user.user_id, place.runtime.keyring.encrypt(b"A" * 32), place.clock.now()),
        )
    await place.ask(place.user.email)
    await place.work()
    await place.choose(place.mailbox.link())
    signed = await place.browser.post("/login", data={"email": place.user.email, "password": NEW})
    assert signed.headers["location"].startswith("/login/code")
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        assert await second_factor.awaited(connection, place.tenant.tenant_id, place.user.user_id) == "code"


async def test_a_server_that_refuses_is_asked_again_and_then_no_more(place: ResetPlace) -> None:
    await place.ask(place.user.email)
    place.mailbox.refusals = ["451 later", "451 later"]
    delays = []
    for _ in range(2):
        await place.work()
        (job,) = place.queue.jobs
        delays.append(job.delay)
    assert delays == list(password_reset.PAUSES[:2])
    await place.work()
    assert (len(place.mailbox.taken), place.queue.jobs) == (1, [])
    assert (await place.choose(place.mailbox.link())).status_code == 303
    await place.ask(place.user.email)
    place.mailbox.refusals = ["550 never"] * 10
    for _ in range(len(password_reset.PAUSES) + 1):
        await place.work()
    assert place.queue.jobs == []


async def test_a_job_that_runs_twice_leaves_one_good_link(place: ResetPlace) -> None:
    await place.ask(place.user.email)
    (job,) = place.queue.jobs
    await place.work()
    await password_reset.send(place.runtime, job.tenant_id, job.key)
    assert (await place.browser.get(place.mailbox.link(0))).status_code == 404
    assert (await place.choose(place.mailbox.link(1))).status_code == 303


async def test_only_the_digest_is_stored_and_links_name_the_configured_address(place: ResetPlace) -> None:
    await place.browser.post("/login/forgot", data={"email": place.user.email}, headers={"Host": "console.example"})
    await place.work()
    token = place.mailbox.link().partition("token=")[2]
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        rows = [
            *await connection.fetch("SELECT * FROM password_reset"),
            *await connection.fetch("SELECT * FROM directory"),
        ]
    assert token not in repr(rows)
    assert "console.example" not in place.mailbox.text()


async def test_another_site_cannot_ask_or_set(place: ResetPlace) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for address in ("/login/forgot", "/login/reset"):
        assert (await place.browser.post(address, data={}, headers=foreign)).status_code == 403


async def test_without_a_mail_server_there_is_nothing_to_ask(runtime: Runtime, client: httpx.AsyncClient) -> None:
    assert runtime.mailer is None
    assert "Forgotten" not in (await client.get("/login")).text
    assert (await client.get("/login/forgot")).status_code == 404
    assert (await client.post("/login/forgot", data={"email": "a@b.example"})).status_code == 404
    assert (await client.get("/login/reset?token=x")).status_code == 404
    with pytest.raises(NotFoundError):
        await password_reset.find(runtime, "x")


async def test_what_was_asked_for_long_ago_is_forgotten(place: ResetPlace) -> None:
    await place.ask(place.user.email)
    await place.work()
    place.clock.advance(days=1, seconds=1)
    await place.ask(place.user.email)
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM password_reset") == 1
        assert await connection.fetchval("SELECT count(*) FROM directory WHERE kind = 'password_reset'") == 0
    assert isinstance(place.queue.jobs[0], Job)


@pytest.mark.parametrize("url", ["mail.example.org", "http://x", "smtp://", "smtp://h:notaport", "smtp://[::1"])
def test_a_bad_address_of_a_server_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DRAGOMAN_SMTP_URL must be"):
        Smtp.from_url(url, base_url="http://h")


def test_addresses_of_servers() -> None:
    found = Smtp.from_url("smtps://user%40x:p%3Aw@mail.example.org", base_url="https://bot.example.org/")
    assert (found.host, found.port, found.username, found.password, found.tls) == (
        "mail.example.org", 465, "user@x", "p:w", True
    )  # fmt: skip
    assert found.sender == "dragoman@bot.example.org"
    assert (
        Settings.from_environment({"DRAGOMAN_SMTP_URL": "smtp://h", "DRAGOMAN_SECRET_KEY": "x"}).smtp_url == "smtp://h"
    )


async def test_credentials_are_not_sent_in_the_clear(place: ResetPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not offer TLS gets none, unless it is this machine."""
    port = place.runtime.mailer.port  # type: ignore[union-attr]
    monkeypatch.setattr(smtp, "_HERE", frozenset())
    far = Smtp(host="127.0.0.1", port=port, username="u", password="secret-of-mail", sender="a@b", tls=False)
    with pytest.raises(MailError) as raised:
        await far.send(to="c@d.example", subject="s", text="t")
    assert "secret-of-mail" not in str(raised.value)
    assert place.mailbox.taken == []
