"""Serves pages under the names that the operator gave, and tells this machine's own requests from those of others."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dragoman.domain.client_networks import is_loopback
from dragoman.settings import Settings

ANY_HOST = ("/healthz", "/readyz", "/metrics", "/webhooks/")
"""What load balancers and monitors ask for by address, and what is signed: nothing there depends on the name."""

_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


class HostCheck:
    """Answers 421 to requests for a host that is not ours: links and redirects would lead there.

    Ours are that of the base URL and ``other_hosts``, whatever the port: proxies do not always pass it on. Names of
    this machine are ours where the base URL is one, or where the request comes from this machine.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        base = urlsplit(settings.base_url).hostname or ""
        self._hosts = frozenset({base.rstrip("."), *(host_name(host) for host in settings.other_hosts)}) - {""}
        self._is_local = is_local_name(base)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not scope["path"].startswith(ANY_HOST) and not self._is_ours(scope):
            text = "This server is known by another name: see DRAGOMAN_BASE_URL and DRAGOMAN_OTHER_HOSTS.\n"
            await PlainTextResponse(text, 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1:
            return False
        host = host_name(given[0].decode("latin-1"))
        client = scope.get("client")
        return host in self._hosts or (
            is_local_name(host) and (self._is_local or (client is not None and is_loopback(client[0])))
        )


def host_name(host: str) -> str:
    """Take the name out of a ``Host`` header: in lower case, without port, brackets and final dot; empty for none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") if not set(host) & set("/\\?#@") else ""
    except ValueError:
        return ""


def is_local_name(host: str) -> bool:
    """Say whether *host* is a name of this machine."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


def is_operator(request: Request, token: str | None) -> bool:
    """Say whether the request may see how the process is doing: by *token*, or from this machine where there is none.

    A request that a proxy passed on is not from this machine, nor is one for another host: a browser can be made to
    send such a one.
    """
    if token:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(errors="replace"), token.encode()
        )
    return (
        request.client is not None
        and is_loopback(request.client.host)
        and is_local_name(host_name(request.headers.get("host", "")))
        and not any(name in request.headers for name in _FORWARDED)
    )
