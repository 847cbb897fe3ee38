"""Single sign-on with a provider that is played here, keys and all: who comes in, as what, and what is not believed."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from dragoman.domain.errors import ChangeRefusedError
from dragoman.runtime import Keyring, Runtime
from dragoman.services import reseal
from dragoman.services.access import identity_provider, password_reset, people, single_sign_on
from dragoman.services.access.identity_provider import ProviderError
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.store.accounts import user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.web.app import create_app
from tests.waiting import eventually

from .tenant_fixture import PASSWORD, AdvancingClock, TenantFixture

BOSS = Administrator("Dora Boss")
CLIENT, SECRET = "dragoman at acme", "s3cret/+ of: the client"
ROLES = [("ops", "administrator"), ("staff", "agent"), ("watchers", "auditor")]
Forge = Callable[[dict[str, Any]], str]


class FakeProvider:
    """An identity provider: a code for whoever is there, once, and an ID token for it."""

    def __init__(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})]
        self.issuer = ""
        self.codes: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.changes: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.forge: Forge | None = None
        self.document: dict[str, Any] = {}
        self.app = FastAPI()
        self.app.get("/.well-known/openid-configuration")(self._document)
        self.app.get("/keys")(self._keys)
        self.app.post("/token")(self._token)

    async def _document(self) -> dict[str, Any]:
        self.asked.append("document")
        return {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys", **self.document,
        }  # fmt: skip

    async def _keys(self) -> dict[str, Any]:
        self.asked.append("keys")
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    async def _token(self, request: Request) -> JSONResponse:
        form = await request.form()
        pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        known = self.codes.pop(str(form["code"]), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        right = (
            known is not None
            and pair == f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}"
            and known["code_challenge"] == challenge.rstrip(b"=").decode()
            and (known["redirect_uri"], form["grant_type"]) == (form["redirect_uri"], "authorization_code")
        )
        if not right or known is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        claims = {name: value for name, value in {**known["claims"], **self.changes}.items() if value is not None}
        token = self.forge(claims) if self.forge else self.sign(claims)
        return JSONResponse({"id_token": token, "token_type": "Bearer", "access_token": "x"})

    def sign(self, claims: dict[str, Any]) -> str:
        key = self.keys[-1]
        return jwt.encode({"alg": "RS256", "kid": key.kid, **self.header}, claims, key)

    def code_for(self, query: dict[str, str], now: float, **who: Any) -> str:
        code = secrets.token_urlsafe(16)
        claims = {
            "iss": self.issuer, "aud": query["client_id"], "nonce": query["nonce"], "iat": int(now),
            "exp": int(now) + 300, "sub": "id-of-ana", "email": "Ana@Acme.example", "email_verified": True,
            "name": "Ana Lima", "groups": ["all", "staff"], **who,
        }  # fmt: skip
        self.codes[code] = {**query, "claims": claims}
        return code


@dataclasses.dataclass
class SignOnPlace:
    tenant: TenantFixture
    provider: FakeProvider
    clock: AdvancingClock
    runtime: Runtime
    browser: httpx.AsyncClient

    async def configure(self, **changes: Any) -> None:
        wanted: dict[str, Any] = {
            "issuer": self.provider.issuer, "client_id": CLIENT, "secret": SECRET, "claim": "groups", "pairs": ROLES,
            "domains": ["acme.example"], "only_way": False, **changes,
        }  # fmt: skip
        await single_sign_on.configure(self.runtime, self.tenant.tenant_id, BOSS, **wanted)

    async def depart(self) -> dict[str, str]:
        answer = await self.browser.get("/login/sso/acme?next=/account")
        assert answer.status_code == 303, answer.text
        to = answer.headers["location"]
        assert to.startswith(f"{self.provider.issuer}/authorize?tenant=1&")
        return {name: values[0] for name, values in parse_qs(urlsplit(to).query).items()}

    async def come_back(self, query: dict[str, str], **who: Any) -> httpx.Response:
        code = self.provider.code_for(query, self.clock.now().timestamp(), **who)
        return await self.browser.get("/login/sso/callback", params={"code": code, "state": query["state"]})

    async def sign_in(self, **who: Any) -> httpx.Response:
        return await self.come_back(await self.depart(), **who)

    async def inside(self) -> bool:
        return (await self.browser.get("/account")).status_code == 200

    async def users(self) -> dict[str, user_accounts.User]:
        async with self.runtime.database.tenant(self.tenant.tenant_id) as connection:
            return {user.email: user for user in await user_accounts.list_all(connection, self.tenant.tenant_id)}


@pytest.fixture
async def place(runtime: Runtime, clock: AdvancingClock) -> AsyncIterator[SignOnPlace]:
    provider = FakeProvider()
    server = uvicorn.Server(uvicorn.Config(provider.app, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    provider.issuer = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    http_skills = HttpSkills(AllowList.parse("127.0.0.1"))
    runtime = dataclasses.replace(runtime, clock=clock, http_skills=http_skills)
    tenant = await TenantFixture.build(runtime, "acme")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(runtime)), base_url="http://127.0.0.1:8000"
    ) as browser:
        made = SignOnPlace(tenant, provider, clock, runtime, browser)
        await made.configure()
        yield made
    await http_skills.aclose()
    server.should_exit = True
    await serving


async def test_who_comes_for_the_first_time_is_made_with_the_mapped_role(place: SignOnPlace) -> None:
    answer = await place.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert await place.inside()
    (user,) = (await place.users()).values()
    assert (user.email, user.name, user.role) == ("ana@acme.example", "Ana Lima", "agent")
    # And again it is the same user, whatever the address is by then.
    await place.sign_in(email="ana.lima@acme.example", groups="watchers")
    (user,) = (await place.users()).values()
    assert (user.email, user.role) == ("ana@acme.example", "auditor")
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT action, actor_name FROM administrator_action ORDER BY action_id")
    assert [tuple(row) for row in rows] == [
        ("tenant.single_sign_on", "Dora Boss"), ("user.created", "single sign-on"), ("user.changed", "single sign-on")
    ]  # fmt: skip


async def test_a_user_who_is_here_already_is_known_by_address(place: SignOnPlace) -> None:
    user = await place.tenant.user("auditor")
    await place.sign_in(email=user.email.upper(), sub="another", groups=["watchers"])
    assert await place.inside()
    assert len(await place.users()) == 1


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ({"groups": ["nothing"]}, "gives you no role"),
        ({"groups": None}, "gives you no role"),
        ({"email": "ana@evil.example"}, "of your domain do not come in"),
        ({"email": "ana@acme.example.evil"}, "of your domain do not come in"),
        ({"email_verified": False}, "does not say which address"),
        ({"email": None}, "does not say which address"),
    ],
)
async def test_who_may_not_come_in_is_told_why(place: SignOnPlace, who: dict[str, Any], said: str) -> None:
    answer = await place.sign_in(**who)
    assert (answer.status_code, said in answer.text) == (403, True)
    assert not await place.inside()
    assert await place.users() == {}


def _by_another_key(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, RSAKey.generate_key(2048))


def _unsigned(claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])


def _by_the_secret(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256", "kid": "first"}, claims, OctKey.import_key(SECRET * 2))


@pytest.mark.parametrize(
    ("changes", "forge"),
    [
        ({"nonce": "another"}, None),
        ({"nonce": None}, None),
        ({"iss": "https://evil.example"}, None),
        ({"aud": "somebody else"}, None),
        ({"aud": [CLIENT, "somebody else"]}, None),
        ({"aud": [CLIENT, "somebody else"], "azp": "somebody else"}, None),
        ({"exp": 1}, None),
        ({"exp": None}, None),
        ({"iat": None}, None),
        ({"sub": None}, None),
        ({}, _by_another_key),
        ({}, _unsigned),
        ({}, _by_the_secret),
        ({}, lambda _: "no token"),
        ({}, lambda _: ""),
    ],
)
async def test_a_token_that_cannot_be_trusted_opens_nothing(
    place: SignOnPlace, changes: dict[str, Any], forge: Forge | None, capsys: pytest.CaptureFixture[str]
) -> None:
    place.provider.changes, place.provider.forge = changes, forge
    answer = await place.sign_in()
    assert (answer.status_code, "did not respond as expected" in answer.text) == (403, True)
    assert not await place.inside()
    assert await place.users() == {}


async def test_with_several_audiences_it_is_ours_where_it_says_so(place: SignOnPlace) -> None:
    place.provider.changes = {"aud": [CLIENT, "other"], "azp": CLIENT}
    await place.sign_in()
    assert await place.inside()


async def test_keys_are_kept_and_another_key_is_asked_for(place: SignOnPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.sign_in()
    await place.sign_in()
    assert place.provider.asked == ["document", "keys"]
    place.provider.keys.append(RSAKey.generate_key(2048, {"kid": "second"}))
    # Not more often than so: whoever sends unknown keys must not make us ask the provider all the time.
    assert (await place.sign_in()).status_code == 403
    assert place.provider.asked == ["document", "keys"]
    monkeypatch.setattr(identity_provider, "LOOKED_AGAIN_SECONDS", 0.0)
    assert (await place.sign_in()).status_code == 303
    assert place.provider.asked == ["document", "keys", "keys"]


async def test_what_was_begun_elsewhere_or_long_ago_does_not_end_here(place: SignOnPlace) -> None:
    query = await place.depart()
    wrong = await place.come_back({**query, "state": "x" * 43})
    assert "does not belong to what was begun" in wrong.text
    code = place.provider.code_for(query, place.clock.now().timestamp())
    no_state = await place.browser.get("/login/sso/callback", params={"code": code})
    assert no_state.status_code == 403
    kept = place.browser.cookies["dragoman_sso"]
    for cookie in ("", "garbage", kept[:-2] + "AA", "\u00e9"):
        place.browser.cookies.clear()
        place.browser.cookies.set("dragoman_sso", quote(cookie), domain="127.0.0.1")
        nothing = await place.come_back(query)
        assert "Nothing was begun in this browser" in nothing.text
    place.browser.cookies.clear()
    place.browser.cookies.set("dragoman_sso", kept, domain="127.0.0.1")
    place.clock.advance(minutes=10, seconds=1)
    assert "longer than ten minutes" in (await place.come_back(query)).text
    assert not await place.inside()


async def test_an_answer_works_once(place: SignOnPlace) -> None:
    query = await place.depart()
    kept = place.browser.cookies["dragoman_sso"]
    code = place.provider.code_for(query, place.clock.now().timestamp())
    back = {"code": code, "state": query["state"]}
    assert (await place.browser.get("/login/sso/callback", params=back)).status_code == 303
    assert "dragoman_sso" not in place.browser.cookies
    place.browser.cookies.set("dragoman_sso", kept, domain="127.0.0.1", path="/login/sso")
    assert (await place.browser.get("/login/sso/callback", params=back)).status_code == 403


async def test_another_providers_answer_is_refused(place: SignOnPlace) -> None:
    query = await place.depart()
    code = place.provider.code_for(query, place.clock.now().timestamp())
    mixed = {"code": code, "state": query["state"], "iss": "https://evil.example"}
    answer = await place.browser.get("/login/sso/callback", params=mixed)
    assert "another provider" in answer.text
    refused = await place.browser.get(
        "/login/sso/callback", params={"error": "access_denied", "state": query["state"], "error_description": "<b>no"}
    )
    assert ("did not let you in" in refused.text, "<b>no" in refused.text) == (True, False)


async def test_it_leads_nowhere_else(place: SignOnPlace) -> None:
    answer = await place.browser.get("/login/sso/acme?next=https://evil.example/")
    assert answer.headers["location"].startswith(place.provider.issuer)
    query = {n: v[0] for n, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert query["redirect_uri"] == "http://127.0.0.1:8000/login/sso/callback"
    assert (await place.come_back(query)).headers["location"] == "/communications/automation/logs"


@pytest.mark.parametrize("slug", ["nobody", "none-here", "Acme%20Corp", "a" * 64])
async def test_which_organisations_are_here_is_not_told(place: SignOnPlace, slug: str) -> None:
    await TenantFixture.build(place.runtime, "none-here")
    answer = await place.browser.get(f"/login/sso/{slug}")
    assert answer.status_code in {403, 404, 422}
    if answer.status_code == 403:
        assert "No organisation with that name" in answer.text


async def test_the_form_leads_to_the_organisation(place: SignOnPlace) -> None:
    answer = await place.browser.get("/login/sso", params={"organisation": " Acme ", "next": "/account"})
    assert answer.headers["location"] == "/login/sso/acme?next=%2Faccount"
    assert "Organisation" in (await place.browser.get("/login/sso")).text


async def test_where_it_is_the_only_way_passwords_open_nothing(place: SignOnPlace) -> None:
    user = await place.tenant.user("administrator")
    form = {"email": user.email, "password": PASSWORD}
    assert (await place.browser.post("/login", data=form)).status_code == 303
    await place.configure(only_way=True)
    answer = await place.browser.post("/login", data=form)
    assert (answer.status_code, "Incorrect email or password." in answer.text) == (401, True)
    queued = len(place.runtime.queue.jobs)  # type: ignore[attr-defined]
    await password_reset.ask(place.runtime, user.email)
    assert len(place.runtime.queue.jobs) == queued  # type: ignore[attr-defined]
    await single_sign_on.remove(place.runtime, place.tenant.tenant_id, BOSS)
    assert (await place.browser.post("/login", data=form)).status_code == 303


async def test_who_was_shut_out_stays_out_and_the_last_administrator_stays_one(place: SignOnPlace) -> None:
    await place.sign_in(groups=["ops"])
    (user,) = (await place.users()).values()
    answer = await place.sign_in(groups=["staff"])
    assert "last administrator" in answer.text
    other = await place.tenant.user("administrator")
    await people.disable(place.runtime, place.tenant.tenant_id, Administrator("x", other.user_id), user.user_id)
    assert "was shut" in (await place.sign_in(groups=["ops"])).text


async def test_an_address_of_another_tenant_is_not_taken(place: SignOnPlace) -> None:
    other = await TenantFixture.build(place.runtime, "other")
    theirs = await other.user("auditor")
    await place.configure(domains=[])
    assert "another organisation" in (await place.sign_in(email=theirs.email)).text
    assert await place.users() == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_id": ""}, "Enter issuer, client ID, client secret and claim"),
        ({"claim": ""}, "Enter issuer, client ID, client secret and claim"),
        ({"pairs": []}, "which claim value gives which role"),
        ({"pairs": [("ops", "king")]}, "There is no role king"),
    ],
)
async def test_settings_that_cannot_be_used_are_refused(place: SignOnPlace, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ChangeRefusedError, match=said):
        await place.configure(**changes)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": "https://other.example"}, "calls itself something else"),
        ({"token_endpoint": None}, "no token_endpoint"),
        ({"jwks_uri": "ftp://x"}, "no jwks_uri"),
    ],
)
async def test_a_provider_that_cannot_be_used_is_not_set(
    place: SignOnPlace, document: dict[str, Any], said: str
) -> None:
    place.runtime.provider_documents.clear()
    place.provider.document = document
    with pytest.raises(ProviderError, match=said):
        await place.configure()


@pytest.mark.parametrize(
    "issuer",
    ["http://127.0.0.1:1", "http://169.254.169.254", "http://10.0.0.1", "file:///etc/passwd", "nothing", "http://[::1"],
)
async def test_addresses_inside_are_not_asked(place: SignOnPlace, issuer: str) -> None:
    with pytest.raises(ProviderError, match="cannot be asked"):
        await place.configure(issuer=issuer)


async def test_the_secret_is_stored_encrypted_shown_to_nobody_and_sealed_anew(place: SignOnPlace) -> None:
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        stored = [*await connection.fetch("SELECT * FROM single_sign_on")]
        stored += await connection.fetch("SELECT * FROM administrator_action")
        await connection.execute("UPDATE channel_account SET secrets = $1", place.runtime.keyring.encrypt(b"{}"))
    assert SECRET not in repr([tuple(row) for row in stored])
    new = "Y" * 43 + "="
    both = dataclasses.replace(place.runtime, keyring=Keyring(new, place.runtime.settings.secret_key))
    assert await reseal.reseal(both) == 2
    # An empty secret keeps the one that is known.
    await single_sign_on.configure(
        both, place.tenant.tenant_id, BOSS, issuer=place.provider.issuer, client_id=CLIENT, secret="", claim="groups",
        pairs=ROLES, domains=[], only_way=False,
    )  # fmt: skip
    only = dataclasses.replace(place.runtime, keyring=Keyring(new))
    place.browser = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(only)), base_url="http://127.0.0.1:8000")
    await place.sign_in()
    assert await place.inside()
    await place.browser.aclose()


async def test_the_settings_page(place: SignOnPlace) -> None:
    place.browser.headers.update(await place.tenant.cookie(await place.tenant.user("administrator")))
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        csrf = {"csrf_token": await connection.fetchval("SELECT csrf_token FROM login_session")}
    address = "/communications/settings/sign-on"
    page = (await place.browser.get(address)).text
    assert "http://127.0.0.1:8000/login/sso/callback" in page
    assert "http://127.0.0.1:8000/login/sso/acme" in page
    assert (SECRET in page, "ops = administrator" in page) == (False, True)
    form = {
        "issuer": place.provider.issuer, "client_id": "other", "secret": "", "claim": "roles",
        "roles": "a = b = Auditor\n\n ops=agent", "domains": "A.example, b.example", "only_way": "yes",
    }  # fmt: skip
    assert (await place.browser.post(address, data={**csrf, **form})).status_code == 303
    async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
        row = await connection.fetchrow("SELECT claim, roles, domains, only_way FROM single_sign_on")
    assert row is not None
    assert tuple(row) == ("roles", [["a = b", "auditor"], ["ops", "agent"]], ["a.example", "b.example"], True)
    for changes, said in (
        ({"roles": "nonsense"}, "not a line like"),
        ({"issuer": "http://10.0.0.1"}, "cannot be asked"),
    ):
        wrong = await place.browser.post(address, data={**csrf, **form, **changes})
        assert (wrong.status_code, said in wrong.text) == (422, True)
    assert (await place.browser.post(f"{address}/remove", data=csrf)).status_code == 303
    assert (await place.browser.post(f"{address}/remove", data=csrf)).status_code == 422
