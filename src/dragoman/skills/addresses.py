"""Which addresses a skill behind HTTP may be called at, and connections that go to the checked address only.

A tenant's administrator chooses the URL, the server that calls it stands inside the operator's network: without these
checks a skill could read whatever that network trusts (server-side request forgery). A name is resolved once for each
connection, every address of it is checked, and the connection goes to one of those addresses: there is no second
look-up that could answer otherwise.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import httpcore
import httpx

from dragoman.domain.errors import ConfigurationError
from dragoman.skills.call_errors import AddressRefusedError, NameNotFoundError, SkillCallError, shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Gives the addresses of a host, best first."""

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")

# What Python calls global, in all or in some of its releases, and is not: protocol assignments (a cloud's metadata
# among them), deprecated relays, segment routing, documentation. And one address that is public by the registries, but
# answers from inside: the wire server of Azure's virtual machines.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_RESOLVERS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="skill-dns")
"""Threads of their own: a slow name server must not hold up what else runs in threads."""

_CONNECT_TRIES = 4


class Reach(Enum):
    """How far a skill's connection may go."""

    PUBLIC = "public addresses"
    PUBLIC_OR_LISTED = "public addresses and those on the operator's list"
    LISTED = "addresses on the operator's list only"


@dataclass(frozen=True, slots=True)
class AllowList:
    """The hosts and networks that the operator opened to skills which ask for it (``allow_private``)."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """Read host names, addresses and networks with commas between them; raises ConfigurationError."""
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                if not _HOST.fullmatch(entry) or entry.replace(".", "").isdecimal():
                    raise ConfigurationError(
                        f"{entry!r} is neither a host name nor a network; use for example skills.internal, 10.1.0.0/16"
                    ) from error
                hosts.add(entry)
        return cls(frozenset(hosts), tuple(networks))

    def has(self, host: str, address: Address) -> bool:
        """Whether the operator opened *host*, or a network that *address* is in."""
        return host.rstrip(".").lower() in self.hosts or any(address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether *address* belongs to somebody else on the Internet, and not to a network of our own."""
    inner = _embedded(address)
    if inner is not None:
        return is_public(inner)
    if (
        any(address in network for network in _NOT_PUBLIC)
        or not address.is_global
        or address.is_multicast
        or address.is_reserved
    ):
        return False
    return not (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that traffic to an IPv6 address ends at, where it is a wrapping of one."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def parse_address(text: str) -> Address:
    """The address in *text*, an IPv4 one where IPv6 only wraps it; raises ValueError."""
    address = ipaddress.ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def checked_url(url: str, *, allow_private: bool) -> httpx.URL:
    """Take the URL apart. Raises AddressRefusedError, whose sentence says what to write instead."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefusedError("the URL cannot be read") from error
    if parts.scheme not in ({"https", "http"} if allow_private else {"https"}):
        raise AddressRefusedError(
            "the URL must begin with https:// (or http:// with allow_private, for hosts that the operator listed)"
        )
    if not parts.host:
        raise AddressRefusedError("the URL names no host")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise AddressRefusedError("the URL's port must be from 1 to 65535")
    if parts.userinfo:
        raise AddressRefusedError(
            "the URL must hold no user name or password; calls are signed, or have a key of their own"
        )
    if parts.fragment:
        raise AddressRefusedError("the URL must have no #fragment; it would never be sent")
    try:
        address = parse_address(parts.host)
    except ValueError:
        # Names beyond ASCII are in their encoded form by now.
        if not _HOST.fullmatch(parts.raw_host.decode("ascii").lower().removesuffix(".")):
            raise AddressRefusedError(f"{shown(parts.host)} cannot be the name of a host") from None
        return parts
    if not allow_private and not is_public(address):
        raise AddressRefusedError(f"{parts.host} is not a public address; see allow_private")
    return parts


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the name's addresses.

    Raises NameNotFoundError, which may be tried again where the name server failed.
    """
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, look_up)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise NameNotFoundError(f"no name server answered for {host}", retryable=True) from error
        raise NameNotFoundError(f"the name {host} has no address; is it spelled rightly?") from error
    except UnicodeError as error:
        raise NameNotFoundError(f"{host} cannot be a name in the DNS") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _ClosedOnFailure(httpcore.AsyncNetworkStream):
    """A connection that does not outlive a TLS handshake which is cancelled, as at a call's deadline.

    httpcore closes it after exceptions only, and would leave the socket to the garbage collector.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore, to addresses within *reach* only; TLS and Host still go by the name."""

    def __init__(self, reach: Reach, allowed: AllowList, resolver: Resolver) -> None:
        self._reach, self._allowed, self._resolver = reach, allowed, resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check all, connect to the first that answers."""
        addresses = [parse_address(found) for found in await self._resolver(host, port)]
        if not addresses:
            raise NameNotFoundError(f"the name {host} has no address")
        for address in addresses:
            self._check(host, address)
        tries = addresses[:_CONNECT_TRIES]
        # An address that does not answer must leave time for the next one.
        share = None if timeout is None else timeout / len(tries)
        failed: Exception | None = None
        for address in tries:
            try:
                found = await self._network.connect_tcp(str(address), port, share, local_address, socket_options)
                return _ClosedOnFailure(found)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = failed or error
        raise failed or AssertionError("unreachable")

    async def sleep(self, seconds: float) -> None:
        """Sleep, as httpcore's interface wants it."""
        await asyncio.sleep(seconds)

    def _check(self, host: str, address: Address) -> None:
        listed = self._allowed.has(host, address)
        refusal: SkillCallError | None = None
        if self._reach is Reach.LISTED and not listed:
            refusal = AddressRefusedError(
                f"{host} is called without TLS, which is only for hosts that the operator lists in "
                "DRAGOMAN_HTTP_SKILL_PRIVATE"
            )
        elif self._reach is Reach.PUBLIC and not is_public(address):
            refusal = AddressRefusedError(
                f"{host} leads to {address}, which is not a public address; what stands inside sets "
                "allow_private, and the operator lists it in DRAGOMAN_HTTP_SKILL_PRIVATE"
            )
        elif not (listed or is_public(address)):
            refusal = AddressRefusedError(
                f"{host} leads to {address}, which is not a public address and which the operator has not listed in "
                "DRAGOMAN_HTTP_SKILL_PRIVATE"
            )
        if refusal is not None:
            raise refusal
