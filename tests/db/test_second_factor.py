"""The second factor: nothing is open before the code was given, no code works twice, nobody is locked out for good."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.runtime import Keyring, Runtime
from dragoman.services import reseal
from dragoman.services.access import second_factor
from dragoman.services.access.second_factor import ThrottledError
from dragoman.store.accounts import user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app

from .tenant_fixture import PASSWORD, AdvancingClock, TenantFixture
from .test_auth import PUBLIC, declared

BOSS = Administrator("Dora Boss")
LOGS = "/communications/automation/logs"


@dataclasses.dataclass
class EnrolledPerson:
    """Somebody with a browser, an authenticator and a tenant that they belong to."""

    tenant: TenantFixture
    user: user_accounts.User
    clock: AdvancingClock
    app: FastAPI
    browser: httpx.AsyncClient
    secret: str = ""
    codes: list[str] = dataclasses.field(default_factory=list)

    @property
    def code(self) -> str:
        return pyotp.TOTP(self.secret).at(self.clock.now())

    async def enroll(self) -> None:
        given = (self.tenant.runtime, self.tenant.tenant_id, self.user.user_id)
        self.secret = (await second_factor.begin(*given)).secret
        self.codes = await second_factor.confirm(*given, self.code)
        self.clock.advance(seconds=30)

    async def password(self) -> httpx.Response:
        form = {"email": self.user.email, "password": PASSWORD, "next": "/account"}
        return await self.browser.post("/login", data=form)

    async def give(self, code: str, page: str = "/login/code") -> httpx.Response:
        form = await self.browser.get(page)
        csrf = re.search(r'name="csrf_token" value="([^"]+)"', form.text)
        return await self.browser.post(
            page, data={"code": code, "csrf_token": csrf[1] if csrf else "", "next": "/account"}
        )

    async def inside(self) -> bool:
        return (await self.browser.get("/account")).status_code == 200

    async def actions(self) -> list[str]:
        async with self.tenant.runtime.database.tenant(self.tenant.tenant_id) as connection:
            rows = await connection.fetch("SELECT action FROM administrator_action ORDER BY action_id")
        return [row["action"] for row in rows]


@pytest.fixture
async def person(runtime: Runtime, clock: AdvancingClock) -> Any:
    runtime = dataclasses.replace(runtime, clock=clock)
    tenant = await TenantFixture.build(runtime, "safe")
    app = create_app(runtime)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dragoman.test") as browser:
        yield EnrolledPerson(tenant, await tenant.user("administrator"), clock, app, browser)


async def test_who_has_none_signs_in_with_the_password(person: EnrolledPerson) -> None:
    assert (await person.password()).headers["location"] == "/account"
    assert await person.inside()


async def test_password_then_code(person: EnrolledPerson) -> None:
    await person.enroll()
    answer = await person.password()
    assert answer.headers["location"] == "/login/code?next=%2Faccount"
    before = person.browser.cookies["dragoman_session"]
    assert not await person.inside()
    assert (await person.give(person.code)).headers["location"] == "/account"
    assert await person.inside()
    # What was in the browser before opens nothing.
    assert person.browser.cookies["dragoman_session"] != before
    person.browser.cookies.set("dragoman_session", before, domain="dragoman.test")
    assert not await person.inside()


async def test_between_the_two_nothing_is_open(person: EnrolledPerson) -> None:
    """Every route, as for somebody who gave no password at all."""
    await person.enroll()
    await person.password()
    cookie = {"Cookie": f"dragoman_session={person.browser.cookies['dragoman_session']}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(person.app), base_url="http://dragoman.test"
    ) as stranger:
        for (method, path), _ in declared(person.app).items():
            if (method, path) in PUBLIC or method is None or path is None:
                continue
            address = re.sub(r"\{[^}]+\}", "0193f2a0-0000-7000-8000-000000000001", path)
            given = await stranger.request(method, address, headers=cookie)
            nothing = await stranger.request(method, address)
            assert (given.status_code, given.headers.get("location")) == (
                nothing.status_code, nothing.headers.get("location")
            ), path  # fmt: skip
            assert given.status_code in {303, 401}, path


@pytest.mark.parametrize("page", ["/login/code", "/login/setup"])
async def test_without_a_password_there_is_no_second_step(person: EnrolledPerson, page: str) -> None:
    await person.enroll()
    assert (await person.browser.get(page)).headers["location"] == "/login"
    assert (await person.browser.post(page, data={"code": person.code})).headers["location"] == "/login"
    person.browser.headers.update(await person.tenant.cookie(person.user))
    assert (await person.browser.get(page)).headers["location"] == "/login"


async def test_each_step_goes_where_it_belongs(person: EnrolledPerson) -> None:
    await person.enroll()
    await person.password()
    assert (await person.browser.get("/login/setup")).headers["location"] == "/login/code"


async def test_a_form_of_another_site_is_refused(person: EnrolledPerson) -> None:
    await person.enroll()
    await person.password()
    forged = await person.browser.post("/login/code", data={"code": person.code, "csrf_token": "x" * 43})
    assert forged.status_code == 403
    elsewhere = await person.browser.post(
        "/login/code", data={"code": person.code}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert elsewhere.status_code == 403
    assert (await person.give(person.code)).status_code == 303


async def test_the_time_for_the_code_ends(person: EnrolledPerson) -> None:
    await person.enroll()
    await person.password()
    person.clock.advance(minutes=10)
    assert (await person.browser.get("/login/code")).headers["location"] == "/login"


@pytest.mark.parametrize("seconds", [-30, 0, 30])
async def test_clocks_may_differ_by_a_step(person: EnrolledPerson, seconds: int) -> None:
    await person.enroll()
    person.clock.advance(minutes=5)
    await person.password()
    code = pyotp.TOTP(person.secret).at(int(person.clock.now().timestamp()) + seconds)
    assert (await person.give(f" {code[:3]} {code[3:]} ")).status_code == 303


@pytest.mark.parametrize("seconds", [-60, 60])
async def test_but_not_by_two(person: EnrolledPerson, seconds: int) -> None:
    await person.enroll()
    person.clock.advance(minutes=5)
    await person.password()
    code = pyotp.TOTP(person.secret).at(int(person.clock.now().timestamp()) + seconds)
    answer = await person.give(code)
    assert (answer.status_code, "That code is not right, or was used already." in answer.text) == (401, True)


async def test_a_code_works_once(person: EnrolledPerson) -> None:
    await person.enroll()
    await person.password()
    code = person.code
    assert (await person.give(code)).status_code == 303
    await person.password()
    assert (await person.give(code)).status_code == 401
    # Nor does the one before it, which would still be in time.
    earlier = pyotp.TOTP(person.secret).at(int(person.clock.now().timestamp()) - 30)
    assert (await person.give(earlier)).status_code == 401


async def test_of_many_who_give_the_same_code_at_once_one_gets_in(person: EnrolledPerson) -> None:
    await person.enroll()
    given = (person.tenant.runtime, person.tenant.tenant_id, person.user.user_id, person.code)
    done = await asyncio.gather(*(second_factor.check(*given) for _ in range(4)), return_exceptions=True)
    assert [one for one in done if one is None] == [None]


async def test_recovery_codes_work_once_each(person: EnrolledPerson) -> None:
    await person.enroll()
    assert len(set(person.codes)) == 10
    for code in (person.codes[0], person.codes[1].upper().replace("-", " ")):
        await person.password()
        assert (await person.give(code)).status_code == 303
    await person.password()
    assert (await person.give(person.codes[0])).status_code == 401
    assert "8 recovery codes are left" in await _account(person, person.codes[2], left=True)
    assert (await person.actions()).count("user.recovery_code_used") == 3


async def _account(person: EnrolledPerson, code: str, *, left: bool) -> str:
    answer = await person.give(code)
    assert answer.status_code == 303
    page = (await person.browser.get("/account")).text
    return page.replace("7 recovery", "8 recovery") if left else page


async def test_guesses_are_slowed_down_and_an_account_is_not_lost(person: EnrolledPerson) -> None:
    await person.enroll()
    await person.password()
    for _ in range(5):
        assert (await person.give("000000")).status_code == 401
    answer = await person.give(person.code)
    assert (answer.status_code, "Too many codes were wrong" in answer.text) == (429, True)
    assert int(answer.headers["retry-after"]) >= 1
    person.clock.advance(seconds=2)
    assert (await person.give(person.code)).status_code == 303


async def test_nothing_secret_is_stored_readably(person: EnrolledPerson, database_urls: DatabaseURLs) -> None:
    await person.enroll()
    async with person.tenant.runtime.database.tenant(person.tenant.tenant_id) as connection:
        rows = [
            *await connection.fetch("SELECT * FROM second_factor"),
            *await connection.fetch("SELECT * FROM recovery_code"),
            *await connection.fetch("SELECT * FROM administrator_action"),
        ]
    stored = "".join(map(repr, map(tuple, rows)))
    assert person.secret not in stored
    assert person.secret.encode().hex() not in stored
    assert [code for code in person.codes if code in stored] == []


async def test_an_earlier_key_can_be_thrown_away(person: EnrolledPerson) -> None:
    await person.enroll()
    runtime = person.tenant.runtime
    async with runtime.database.tenant(person.tenant.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET secrets = $1", runtime.keyring.encrypt(b"{}"))
    new = "Y" * 43 + "="
    both = dataclasses.replace(runtime, keyring=Keyring(new, runtime.settings.secret_key))
    assert await reseal.reseal(both) == 2
    only = dataclasses.replace(runtime, keyring=Keyring(new))
    await second_factor.check(only, person.tenant.tenant_id, person.user.user_id, person.code)


async def test_whom_the_tenant_demands_it_of_sets_it_up_first(person: EnrolledPerson) -> None:
    await second_factor.demand(person.tenant.runtime, person.tenant.tenant_id, BOSS, everybody=True)
    answer = await person.password()
    assert answer.headers["location"] == "/login/setup?next=%2Faccount"
    assert not await person.inside()
    page = (await person.browser.get("/login/setup")).text
    assert '<div class="qr" role="img"' in page
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert secret is not None
    person.secret = secret[1].replace(" ", "")
    # It is the same one when the page is loaded again.
    assert secret[1] in (await person.browser.get("/login/setup")).text
    assert (await person.give("123456", "/login/setup")).status_code == 401
    shown = await person.give(person.code, "/login/setup")
    assert (shown.status_code, len(re.findall(r"<li><code>[a-z0-9-]{19}</code>", shown.text))) == (200, 10)
    assert await person.inside()
    with pytest.raises(ChangeRefusedError, match="organisation requires"):
        await second_factor.give_up(person.tenant.runtime, person.tenant.tenant_id, person.user.user_id, person.code)


async def test_my_account(person: EnrolledPerson) -> None:
    await person.password()
    other = await person.tenant.cookie(person.user)
    page = (await person.browser.get("/account")).text
    csrf = {"csrf_token": re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]}

    async def post(what: str, **form: str) -> httpx.Response:
        return await person.browser.post(f"/account/second-factor{what}", data={**csrf, **form})

    begun = await post("")
    person.secret = re.findall(r"<code>([A-Z2-7 ]+)</code>", begun.text)[0].replace(" ", "")
    assert (await post("/confirm", code="000000")).status_code == 422
    confirmed = await post("/confirm", code=person.code)
    assert len(re.findall(r"<li><code>", confirmed.text)) == 10
    # Others who were signed in as this person are not any more.
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(person.app), base_url="http://dragoman.test", headers=other
    ) as elsewhere:
        assert (await elsewhere.get("/account")).status_code == 303
    assert (await post("")).status_code == 422
    person.clock.advance(seconds=30)
    assert (await post("/codes", code="000000")).status_code == 422
    renewed = await post("/codes", code=person.code)
    assert set(re.findall(r"<li><code>(.*?)</code>", renewed.text)).isdisjoint(
        re.findall(r"<li><code>(.*?)</code>", confirmed.text)
    )
    assert "<li><code>" in renewed.text
    assert (await post("/remove", code=person.code)).status_code == 422
    person.clock.advance(seconds=30)
    assert (await post("/remove", code=person.code)).status_code == 303
    assert "Set up" in (await person.browser.get("/account")).text
    assert await person.actions() == [
        "user.second_factor_added", "user.recovery_codes_renewed", "user.second_factor_removed"
    ]  # fmt: skip


async def test_an_administrator_helps_whoever_lost_it_but_not_themselves(person: EnrolledPerson) -> None:
    await person.enroll()
    given = (person.tenant.runtime, person.tenant.tenant_id)
    with pytest.raises(ChangeRefusedError, match="your own"):
        await second_factor.take_away(*given, Administrator("me", person.user.user_id), person.user.user_id)
    person.browser.headers.update(await person.tenant.cookie(person.user))
    assert await person.inside()
    await second_factor.take_away(*given, BOSS, person.user.user_id)
    assert not await person.inside()
    del person.browser.headers["Cookie"]
    assert (await person.password()).headers["location"] == "/account"


async def test_too_many_wrong_codes_name_the_wait(person: EnrolledPerson) -> None:
    await person.enroll()
    given = (person.tenant.runtime, person.tenant.tenant_id, person.user.user_id)
    for _ in range(5):
        with pytest.raises(ChangeRefusedError):
            await second_factor.check(*given, "no code at all \udc80")
    with pytest.raises(ThrottledError, match=r"Wait \d+ seconds?"):
        await second_factor.check(*given, person.code)


async def test_another_tenants_user_is_not_reached(person: EnrolledPerson, database: Database) -> None:
    await person.enroll()
    other = await TenantFixture.build(person.tenant.runtime, "other")
    with pytest.raises(NotFoundError):
        await second_factor.take_away(person.tenant.runtime, other.tenant_id, BOSS, person.user.user_id)
    async with database.tenant(person.tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM second_factor") == 1


async def test_the_command_line(person: EnrolledPerson, database_urls: DatabaseURLs, tmp_path: Path) -> None:
    await person.enroll()
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_DATA_DIR": str(tmp_path / "cli"),
        "DRAGOMAN_SECRET_KEY": person.tenant.runtime.settings.secret_key,
    }

    async def run(*words: str) -> Any:
        command = [*words, "--tenant", "safe"]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, command)

    assert (await run("user", "reset-second-factor", person.user.email)).exit_code == 0
    assert (await person.password()).headers["location"] == "/account"
    assert (await run("tenant", "second-factor", "everybody")).exit_code == 0
    assert "setup" in (await person.password()).headers["location"]
    assert (await run("tenant", "second-factor", "optional")).exit_code == 0
    assert "use everybody or optional" in str((await run("tenant", "second-factor", "nobody")).exception)
    assert json.dumps(await person.actions()).count("tenant.second_factor") == 2
