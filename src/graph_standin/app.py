"""Serves the stand-in over HTTP.

Meta's side: ``POST /<version>/<number>/messages``, ``POST /<version>/<number>/media``,
``GET /<version>/<media or number>``, ``GET /<version>/<business account>/subscribed_apps``,
``GET /<version>/<business account>/message_templates``,
``GET /media-download/<media>``, all with the number's bearer token. Ours:
``/journal``, ``/control``, ``/inbound`` with the control token, and ``/healthz``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graph_standin.answers import PlannedFault
from graph_standin.config import Number, StandinConfig
from graph_standin.lookups import number_object, proof_fault, subscribed_apps
from graph_standin.media import limit_of
from graph_standin.rules import RuleError, read_rule
from graph_standin.standin import InboundError, Standin
from graph_standin.templates import listed

Endpoint = Callable[[Request], Awaitable[Response]]


class HungUpError(httpx.ReadError):
    """The stand-in cuts the connection, as it was told to.

    A read error, so that a client in the same process sees what one behind a socket would see.
    """


class HangUp(Response):
    """A response that ends in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        """Promise more than is sent, then fail: the server closes the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise HungUpError("the stand-in was told to hang up")


def create_app(config: StandinConfig) -> Starlette:
    """The application; its :class:`Standin` is ``app.state.standin`` (to read the journal, drain, close)."""
    standin = Standin(config)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await standin.close()

    routes = [
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/journal", _controlled(_journal), methods=["GET"]),
        Route("/control", _controlled(_control), methods=["GET", "POST", "DELETE"]),
        Route("/inbound", _controlled(_inbound), methods=["POST"]),
        Route("/media-download/{media_id}", _download, methods=["GET"]),
        Route("/{version}/{phone_number_id}/messages", _messages, methods=["POST"]),
        Route("/{version}/{phone_number_id}/media", _upload, methods=["POST"]),
        Route("/{version}/{waba_id}/subscribed_apps", _subscribed_apps, methods=["GET"]),
        Route("/{version}/{waba_id}/message_templates", _message_templates, methods=["GET"]),
        Route("/{version}/{media_id}", _media, methods=["GET"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.standin = standin
    return app


def _standin(request: Request) -> Standin:
    standin = request.app.state.standin
    assert isinstance(standin, Standin)  # noqa: S101 - put there by create_app
    return standin


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _same(given: str, wanted: str) -> bool:
    return bool(wanted) and hmac.compare_digest(given.encode(), wanted.encode())


def _refuse(fault: PlannedFault) -> JSONResponse:
    return JSONResponse(fault.body, fault.status)


def _authorise(request: Request) -> Number | PlannedFault:
    """The number that the path names, if the token is its own."""
    config, token = _standin(request).config, _bearer(request)
    if not any(_same(token, number.token) for number in config.numbers):
        return PlannedFault(190, "Invalid OAuth access token - Cannot parse access token")
    number = config.number(request.path_params["phone_number_id"])
    if number is None or not _same(token, number.token):
        return PlannedFault(100, "Object does not exist, or cannot be loaded due to missing permissions", subcode=33)
    return number


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def _messages(request: Request) -> Response:
    number = _authorise(request)
    if isinstance(number, PlannedFault):
        return _refuse(number)
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        body = None
    reply = _standin(request).send(number, body)
    if reply.after is not None:
        await asyncio.wait({reply.after})
    if reply.delay_seconds > 0:
        await asyncio.sleep(reply.delay_seconds)
    if reply.hang_up:
        return HangUp()
    if isinstance(reply.answer, str):
        return PlainTextResponse(reply.answer, reply.status)
    return JSONResponse(reply.answer, reply.status)


async def _upload(request: Request) -> Response:
    number = _authorise(request)
    if isinstance(number, PlannedFault):
        return _refuse(number)
    async with request.form() as form:
        file = form.get("file")
        if form.get("messaging_product") != "whatsapp" or not isinstance(file, UploadFile):
            return _refuse(PlannedFault(100, "The parameters messaging_product and file are required."))
        named = form.get("type")
        mime_type = named if isinstance(named, str) and named else file.content_type or ""
        content = await file.read()
    limit = limit_of(mime_type)
    if limit is None:
        return _refuse(PlannedFault(131053, f"Param file must be of a supported type, not {mime_type}"))
    if not 0 < len(content) <= limit:
        return _refuse(PlannedFault(131053, f"The file has {len(content)} bytes; between 1 and {limit} are allowed"))
    return JSONResponse({"id": _standin(request).files.put(mime_type, content).media_id})


def _of_business_account(request: Request) -> Number | PlannedFault:
    """A number of the business account that the path names, if the token is its own."""
    wanted, token = request.path_params["waba_id"], _bearer(request)
    numbers = [number for number in _standin(request).config.numbers if _same(token, number.token)]
    if not numbers:
        return PlannedFault(190, "Invalid OAuth access token - Cannot parse access token")
    number = next((number for number in numbers if number.waba_id == wanted), None)
    if number is None:
        return PlannedFault(100, "Object does not exist, or cannot be loaded", subcode=33)
    return proof_fault(number, request.query_params.get("appsecret_proof")) or number


async def _subscribed_apps(request: Request) -> Response:
    number = _of_business_account(request)
    return _refuse(number) if isinstance(number, PlannedFault) else JSONResponse(subscribed_apps(number))


async def _message_templates(request: Request) -> Response:
    number = _of_business_account(request)
    if isinstance(number, PlannedFault):
        return _refuse(number)
    config = _standin(request).config
    own_address = f"{config.public_url.rstrip('/')}/{request.path_params['version']}/{number.waba_id}/message_templates"
    return JSONResponse(listed(config.templates, number.waba_id, request.query_params, own_address))


async def _look_up_number(request: Request, number: Number) -> Response:
    if not _same(_bearer(request), number.token):
        return _refuse(PlannedFault(100, "Object does not exist, or cannot be loaded", subcode=33))
    fault = proof_fault(number, request.query_params.get("appsecret_proof"))
    if fault is not None:
        return _refuse(fault)
    return JSONResponse(number_object(number, request.query_params.get("fields")))


async def _media(request: Request) -> Response:
    standin = _standin(request)
    if not any(_same(_bearer(request), number.token) for number in standin.config.numbers):
        return _refuse(PlannedFault(190, "Invalid OAuth access token - Cannot parse access token"))
    number = standin.config.number(request.path_params["media_id"])
    if number is not None:
        return await _look_up_number(request, number)
    stored = standin.files.get(request.path_params["media_id"])
    if stored is None:
        return _refuse(PlannedFault(100, "Object does not exist, or cannot be loaded", subcode=33))
    return JSONResponse(
        {
            "messaging_product": "whatsapp",
            "url": standin.media_url(stored.media_id),
            "mime_type": stored.mime_type,
            "sha256": stored.sha256,
            "file_size": len(stored.content),
            "id": stored.media_id,
        }
    )


async def _download(request: Request) -> Response:
    standin = _standin(request)
    if not any(_same(_bearer(request), number.token) for number in standin.config.numbers):
        return Response(status_code=401)
    media_id = request.path_params["media_id"]
    stored = standin.files.get(media_id)
    if not standin.good_media_url(media_id, request.query_params.get("oe", ""), request.query_params.get("oh", "")):
        # What Meta does with an address that is older than five minutes.
        return Response(status_code=404)
    return Response(status_code=404) if stored is None else Response(stored.content, 200, None, stored.mime_type)


def _controlled(endpoint: Endpoint) -> Endpoint:
    """Let in only who has the control token."""

    async def guarded(request: Request) -> Response:
        if not _same(_bearer(request), _standin(request).config.control_token):
            return JSONResponse({"detail": "the control token is missing or wrong"}, 401)
        return await endpoint(request)

    return guarded


async def _journal(request: Request) -> Response:
    query = request.query_params
    try:
        after, limit = int(query.get("after", "0")), int(query.get("limit", "1000"))
    except ValueError:
        return JSONResponse({"detail": "after and limit are whole numbers"}, 422)
    found = _standin(request).journal.find(to=query.get("to"), after=after, limit=max(0, limit))
    # A request may hold what only escaped JSON can carry, such as half a surrogate pair.
    return Response(json.dumps({"entries": [asdict(entry) for entry in found]}), media_type="application/json")


async def _object(request: Request) -> dict[str, Any] | None:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


async def _control(request: Request) -> Response:
    standin = _standin(request)
    if request.method == "DELETE":
        standin.rules.rules.clear()
    if request.method == "POST":
        body = await _object(request) or {}
        rules = body.get("rules")
        if not isinstance(rules, list):
            return JSONResponse({"detail": "the body is an object with a list of rules"}, 422)
        try:
            standin.rules.rules.extend([read_rule(rule) for rule in rules])
        except RuleError as error:
            return JSONResponse({"detail": str(error)}, 422)
    return JSONResponse(
        {
            "rules": [asdict(rule) for rule in standin.rules.rules],
            "pending": standin.pending,
            "given_up": standin.deliverer.given_up,
        }
    )


async def _inbound(request: Request) -> Response:
    body = await _object(request)
    if body is None:
        return JSONResponse({"detail": "the body is not a JSON object"}, 422)
    try:
        played = await _standin(request).play(body)
    except InboundError as error:
        return JSONResponse({"detail": str(error)}, 422)
    return JSONResponse(played, 200 if played["status"] == 200 else 502)
