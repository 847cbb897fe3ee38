"""Puts the web process together: middleware, error answers, routers, the console."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from dragoman import __version__
from dragoman.runtime import Runtime
from dragoman.settings import Settings
from dragoman.store import migrate
from dragoman.store.accounts import user_accounts
from dragoman.web import console, health, unsubscribe
from dragoman.web.api import (
    access_log,
    active_sessions,
    background_exports,
    classifier,
    conversations,
    deliveries,
    events,
    exports,
    handoff_settings,
    handoffs,
    holds,
    insights,
    mail_templates,
    mailboxes,
    outbox,
    reference,
    replies,
    reviews,
    skills,
    triggers,
)
from dragoman.web.http import problems
from dragoman.web.http.bodies import BodyLimits, IncomingBodies
from dragoman.web.http.compression import Compression
from dragoman.web.http.hosts import HostCheck
from dragoman.web.http.middleware import BodyLimit, HeadAsGet, LastCatch, ReaderLanguage, RequestId, SecurityHeaders
from dragoman.web.http.shares import SearchShares, Shares
from dragoman.web.live import Hub
from dragoman.web.login import code, login, reset, sso
from dragoman.web.login.queue import LoginQueue
from dragoman.web.webhook import routes

_PARTS = (
    health,
    routes,
    login,
    code,
    reset,
    sso,
    exports,
    conversations,
    classifier,
    access_log,
    deliveries,
    outbox,
    background_exports,
    holds,
    insights,
    reviews,
    replies,
    handoff_settings,
    handoffs,
    active_sessions,
    skills,
    triggers,
    mail_templates,
    mailboxes,
    unsubscribe,
    events,
    reference,
)
"""What has addresses beside the console, in the order in which these are tried."""


class _Application(FastAPI):
    """With layers outside of what the framework puts around everything: a delivery has no use for that."""

    outside: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self.outside(scope, receive, send)

    async def inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The framework's own part."""
        await super().__call__(scope, receive, send)


def create_app(runtime: Runtime) -> FastAPI:
    """The ASGI application on *runtime*, which the caller opens and closes."""
    app = _Application(
        title="Dragoman",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Such a redirect would be built from the Host header.
        redirect_slashes=False,
        middleware=[
            Middleware(Compression),
            Middleware(ReaderLanguage, untouched=problems.FOR_PROGRAMS),
            Middleware(LastCatch, answer=problems.unexpected),
            Middleware(HeadAsGet),
            Middleware(BodyLimit, limit=runtime.settings.webhook_body_limit),
        ],
    )
    app.state.runtime = runtime
    app.state.login_queue = LoginQueue()
    app.state.live = Hub(runtime.database)
    app.state.searches = SearchShares(runtime.database)
    app.state.downloads = Shares()
    app.state.schema_revision = migrate.head()
    # Made now, so that the first unknown user's login takes no longer than the next.
    user_accounts.dummy_hash()
    problems.install(app)
    for part in _PARTS:
        app.include_router(part.router)
    console.install(app)
    settings = runtime.settings
    bodies = IncomingBodies(routes.WebhookFastPath(app.inside, runtime), _body_limits(settings))
    over_https = settings.base_url.startswith("https://")
    app.outside = RequestId(SecurityHeaders(HostCheck(bodies, settings), over_https=over_https), runtime.source)
    return app


def _body_limits(settings: Settings) -> BodyLimits:
    return BodyLimits(
        timeout_s=settings.body_timeout_seconds,
        grace_s=settings.body_grace_seconds,
        least_rate=settings.body_least_rate,
        # One of the largest is always let in.
        most_bytes=max(settings.body_memory_mb * 1024 * 1024, 2 * settings.webhook_body_limit),
    )
