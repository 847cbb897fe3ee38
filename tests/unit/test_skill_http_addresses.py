"""Where a skill behind HTTP may be called: every kind of address, and no way round the check."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import Any
from uuid import UUID

import httpcore
import pytest

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import HttpTarget, SkillSpec
from dragoman.runtime import SystemClock
from dragoman.settings import Settings
from dragoman.skills.addresses import AllowList, CheckedBackend, Reach, checked_url, is_public, parse_address, resolve
from dragoman.skills.call_errors import AddressRefusedError, NameNotFoundError
from dragoman.skills.http import HttpSkills
from dragoman.skills.signing import new_key
from tests.skill_server import answering, certificate, serving
from tests.waiting import PATIENCE_S, patience

FINE = answering({"replies": ["fine"]})
NOTHING = AllowList()


async def call(
    skills: HttpSkills, url: str, *, allow_private: bool = False, seconds: float = PATIENCE_S
) -> SkillReturned | SkillRaised:
    spec = SkillSpec(name="a.b", label="", version="1", http=HttpTarget(url=url, allow_private=allow_private))
    invocation = InvokeSkill(
        skill="a.b",
        skill_version="1",
        parameters={},
        attempt=1,
        timeout_seconds=seconds,
        idempotency_key="key",
        contact_id=UUID(int=1),
        locale="en",
    )
    try:
        return await skills.invoke(spec, invocation, [new_key()], SystemClock().now)
    finally:
        await skills.aclose()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "168.63.129.16",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1",
        "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
    ],
)  # fmt: skip
def test_addresses_that_are_nobody_elses(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_the_operators_list() -> None:
    allowed = AllowList.parse(" Skills.Internal ,10.1.0.0/16, fd00::/8,127.0.0.1,")
    assert allowed.has("skills.internal", parse_address("192.168.0.1"))
    assert allowed.has("SKILLS.internal.", parse_address("192.168.0.1"))
    assert allowed.has("other", parse_address("10.1.255.1"))
    assert allowed.has("other", parse_address("::ffff:10.1.255.1"))
    assert allowed.has("other", parse_address("fd12::1"))
    assert allowed.has("other", parse_address("127.0.0.1"))
    assert not allowed.has("sub.skills.internal", parse_address("192.168.0.1"))
    assert not allowed.has("other", parse_address("10.2.0.1"))
    assert not allowed.has("other", parse_address("127.0.0.2"))
    assert AllowList.parse("") == NOTHING


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.300", "http://host", "host:80", "*.internal", "a b", "1.2"])
def test_what_cannot_stand_on_the_list(text: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a host name nor a network"):
        AllowList.parse(text)


def test_the_list_comes_from_the_environment(tmp_path: Path) -> None:
    environment = {"DRAGOMAN_DATA_DIR": str(tmp_path), "DRAGOMAN_SECRET_KEY": "x"}
    assert Settings.from_environment(environment).http_skill_private == NOTHING
    given = Settings.from_environment({**environment, "DRAGOMAN_HTTP_SKILL_PRIVATE": "skills.internal"})
    assert given.http_skill_private == AllowList.parse("skills.internal")


@pytest.mark.parametrize(
    ("url", "allow_private", "told"),
    [
        ("http://skills.example.com/", False, "https"),
        ("ftp://skills.example.com/", True, "https"),
        ("file:///etc/passwd", True, "https"),
        ("skills.example.com/a", True, "https"),
        ("https:///a", True, "no host"),
        ("https://user:word@skills.example.com/", True, "user name"),
        ("https://user@skills.example.com/", True, "user name"),
        ("https://skills.example.com/#a", True, "fragment"),
        ("https://skills.example.com:99999/", True, "port"),
        ("https://skills.example.com:0/", True, "port"),
        ("https://exa mple.com/", True, "name of a host"),
        ("https://a%2eb.com/", True, "name of a host"),
        ("https://a..b/", True, "name of a host"),
        ("https://skills.example.com:x/", True, "cannot be read"),
        ("https://127.0.0.1/", False, "not a public address"),
        ("https://[::1]/", False, "not a public address"),
        ("https://[::ffff:10.0.0.1]/", False, "not a public address"),
        ("https://169.254.169.254/latest/meta-data/", False, "not a public address"),
    ],
)
def test_urls_that_are_refused(url: str, allow_private: bool, told: str) -> None:
    with pytest.raises(AddressRefusedError, match=told):
        checked_url(url, allow_private=allow_private)


@pytest.mark.parametrize(
    "url", ["https://skills.example.com/a?b=c", "https://bücher.example/", "https://1.1.1.1:8443/"]
)
def test_urls_that_are_taken(url: str) -> None:
    assert checked_url(url, allow_private=False).scheme == "https"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]"])
async def test_loopback_is_refused_however_it_is_written(host: str, tmp_path: Path) -> None:
    server_tls, client_tls = certificate(tmp_path, "127.0.0.1", "localhost")
    async with serving(FINE, tls=server_tls) as server:
        result = await call(HttpSkills(ssl_context=client_tls), f"https://{host}:{server.port}/")
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("AddressRefusedError", False), result.message
    assert "not a public address" in result.message
    assert server.connections == 0


@pytest.mark.parametrize(
    ("allow_private", "allowed", "told"),
    [
        (False, "127.0.0.0/8", "allow_private"),
        (True, "", "has not listed"),
        (True, "10.0.0.0/8,elsewhere", "has not listed"),
    ],
)
async def test_a_private_address_takes_both_the_manifest_and_the_operator(
    allow_private: bool, allowed: str, told: str, tmp_path: Path
) -> None:
    server_tls, client_tls = certificate(tmp_path, "localhost")
    async with serving(FINE, tls=server_tls) as server:
        skills = HttpSkills(AllowList.parse(allowed), ssl_context=client_tls)
        result = await call(skills, server.url(host="localhost"), allow_private=allow_private)
    assert isinstance(result, SkillRaised)
    assert result.error_class == "AddressRefusedError"
    assert told in result.message
    assert server.connections == 0


async def test_plain_http_takes_the_operators_list_even_where_the_address_is_public() -> None:
    backend = CheckedBackend(Reach.LISTED, NOTHING, fixed("1.1.1.1"))
    with pytest.raises(AddressRefusedError, match="without TLS"):
        await backend.connect_tcp("skills.test", 80)


async def test_a_listed_host_is_called_under_its_name_at_the_checked_address(tmp_path: Path) -> None:
    server_tls, client_tls = certificate(tmp_path, "skills.test")
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with serving(FINE, tls=server_tls) as server:
        skills = HttpSkills(AllowList.parse("skills.test"), resolver=rebinding, ssl_context=client_tls)
        result = await call(skills, server.url(host="skills.test"), allow_private=True)
    assert isinstance(result, SkillReturned), result
    assert server.received[0].headers["host"] == f"skills.test:{server.port}"
    assert asked == ["skills.test"], "a second look-up could answer otherwise"


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("1.1.1.1", "127.0.0.1"), ("::ffff:127.0.0.1",), ("::1",)])
async def test_a_name_that_leads_inside_is_refused_whatever_else_it_leads_to(addresses: tuple[str, ...]) -> None:
    async with serving(FINE) as server:
        skills = HttpSkills(resolver=fixed(*addresses))
        result = await call(skills, f"https://skills.test:{server.port}/")
    assert isinstance(result, SkillRaised)
    assert result.error_class == "AddressRefusedError"
    assert "skills.test leads to" in result.message
    assert server.connections == 0


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async with serving(FINE) as server:
        skills = HttpSkills(AllowList.parse("::1,127.0.0.1"), resolver=fixed("::1", "127.0.0.1"))
        result = await call(skills, server.url(host="skills.test"), allow_private=True)
    assert isinstance(result, SkillReturned), result


async def test_a_connection_of_one_skill_does_not_serve_another_with_less_reach(tmp_path: Path) -> None:
    """Keep-alive must not carry a skill without ``allow_private`` to where another one may go."""
    server_tls, client_tls = certificate(tmp_path, "localhost")
    async with serving(FINE, tls=server_tls) as server:
        skills = HttpSkills(AllowList.parse("localhost"), ssl_context=client_tls)
        url = server.url(host="localhost")
        spec = SkillSpec(name="a.b", label="", version="1", http=HttpTarget(url=url, allow_private=True))
        invocation = InvokeSkill(
            skill="a.b", skill_version="1", parameters={}, attempt=1, timeout_seconds=PATIENCE_S, idempotency_key="k",
            contact_id=UUID(int=1), locale="en",
        )  # fmt: skip
        first = await skills.invoke(spec, invocation, [new_key()], SystemClock().now)
        assert isinstance(first, SkillReturned), first
        second = await call(skills, url)
    assert isinstance(second, SkillRaised)
    assert second.error_class == "AddressRefusedError"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with serving(FINE) as proxy, serving(FINE) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        result = await call(HttpSkills(AllowList.parse("127.0.0.1")), server.url(), allow_private=True)
    assert isinstance(result, SkillReturned)
    assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.parametrize(
    ("code", "retryable"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False), (socket.EAI_FAIL, False)]
)
async def test_failures_of_the_name_server(monkeypatch: pytest.MonkeyPatch, code: int, retryable: bool) -> None:
    def failing(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    with pytest.raises(NameNotFoundError) as caught:
        await resolve("skills.test", 443)
    assert caught.value.may_retry is retryable


async def test_a_label_that_no_name_can_have() -> None:
    with pytest.raises(NameNotFoundError):
        await resolve("a" * 70 + ".example", 443)


async def test_a_name_server_that_hangs_is_cut_at_the_deadline() -> None:
    async def hanging(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with patience():
        result = await call(HttpSkills(resolver=hanging), "https://skills.test/", seconds=0.3)
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SkillTimedOut", True)


async def test_a_name_without_addresses() -> None:
    with pytest.raises(NameNotFoundError):
        await CheckedBackend(Reach.PUBLIC, NOTHING, fixed()).connect_tcp("skills.test", 443)


async def test_a_connection_that_takes_too_long_is_a_connect_error() -> None:
    backend = CheckedBackend(Reach.LISTED, AllowList.parse("127.0.0.0/8"), fixed("127.0.0.1"))
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("skills.test", 1, 0.5)


def fixed(*addresses: str) -> Any:
    """A resolver that knows one answer."""

    async def resolver(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolver
