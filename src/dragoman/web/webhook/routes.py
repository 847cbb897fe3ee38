"""Where Meta delivers: https://developers.facebook.com/docs/graph-api/webhooks/getting-started

The signature's form comes first, then the size cap, then the signature over the raw bytes, then parsing. 200 means
committed. Anything but 200 makes Meta deliver again, for days.

A delivery that is posted does not go through the router and what it does for pages: that would cost more than taking
it in (:class:`WebhookFastPath`, decision 0018).
"""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dragoman.runtime import Runtime
from dragoman.services.inbound import accept_delivery
from dragoman.services.inbound.accept_delivery import DeliveryRefused, RefusedReason
from dragoman.store.database import UNAVAILABLE
from dragoman.web.auth import same
from dragoman.web.http import problems
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.middleware import read_limited
from dragoman.web.http.problems import RETRY_AFTER_SECONDS
from dragoman.web.metrics import WEBHOOK_REQUESTS

log = structlog.get_logger()
router = APIRouter(prefix="/webhooks", include_in_schema=False)

PATH = "/webhooks/whatsapp"

_ACCEPTED = WEBHOOK_REQUESTS.labels("accepted")
_JSON = ((b"content-type", b"application/json"),)

_UNREAD = {413: "too_large", 408: "too_slow"}

_REFUSALS = {
    RefusedReason.UNSIGNED: (401, "The X-Hub-Signature-256 header is missing."),
    RefusedReason.WRONG_SIGNATURE: (401, "The signature does not fit the body."),
    RefusedReason.MALFORMED: (400, "The body is not a WhatsApp webhook delivery."),
    # Meta keeps it and comes again, for days: until then an administrator can mend the account.
    RefusedReason.UNREADABLE_ACCOUNT: (503, "It is for a number whose credentials cannot be read at present."),
}


@router.get("/whatsapp")
async def verify(request: Request, runtime: RuntimeDependency) -> Response:
    """Meta's handshake when the webhook is set up: answers the challenge to who knows a verify token."""
    parameters = request.query_params
    given = parameters.get("hub.verify_token", "")
    # Every token is compared, so that the time does not tell which one was close.
    known = [same(given, token) for token in await accept_delivery.verify_tokens(runtime)]
    if parameters.get("hub.mode") != "subscribe" or not any(known):
        raise HTTPException(403, "The verify token is not one of this installation's.")
    return PlainTextResponse(parameters.get("hub.challenge", ""))


@router.post("/whatsapp")
async def receive(request: Request, runtime: RuntimeDependency) -> Response:
    """Take in one delivery; what is refused leaves nothing but a counter."""
    return Response(await _accept(request.scope, request.receive, runtime), media_type="application/json")


async def _accept(scope: Scope, receive: Receive, runtime: Runtime) -> bytes:
    """The answer to a delivery that is on record now. Raises HTTPException for one that is refused."""
    headers = dict(scope["headers"])
    signature = headers.get(b"x-hub-signature-256")
    header = None if signature is None else signature.decode("latin-1")
    if refused := accept_delivery.check_form(header):
        # Its body is not worth reading.
        raise _refusal(refused)
    try:
        body = await read_limited(headers, receive, runtime.settings.webhook_body_limit)
    except HTTPException as error:
        WEBHOOK_REQUESTS.labels(_UNREAD.get(error.status_code, "unavailable")).inc()
        raise
    try:
        result = await accept_delivery.accept(runtime, body, header)
    except UNAVAILABLE as error:
        WEBHOOK_REQUESTS.labels("unavailable").inc()
        log.warning("delivery not accepted: database unavailable", error=error)
        raise HTTPException(503, headers={"Retry-After": RETRY_AFTER_SECONDS}) from error
    except Exception:
        WEBHOOK_REQUESTS.labels("failed").inc()
        raise
    if isinstance(result, DeliveryRefused):
        raise _refusal(result)
    _ACCEPTED.inc()
    return b'{"accepted":%d}' % (result.messages + result.statuses + result.others)


def _refusal(refused: DeliveryRefused) -> HTTPException:
    WEBHOOK_REQUESTS.labels(str(refused.reason)).inc()
    status, detail = _REFUSALS[refused.reason]
    return HTTPException(status, detail, {"Retry-After": RETRY_AFTER_SECONDS} if status == 503 else None)


class WebhookFastPath:
    """Answers deliveries itself, as :func:`receive` and the application's error handlers would; passes on the rest."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app, self._runtime = app, runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            answer = await _accept(scope, receive, self._runtime)
        except HTTPException as error:
            request = Request(scope, receive)
            response = problems.answer(request, error.status_code, error.detail, headers=error.headers)
        except Exception as error:
            response = await problems.unexpected(Request(scope, receive), error)
        else:
            headers = [*_JSON, (b"content-length", b"%d" % len(answer))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
            return
        await response(scope, receive, send)
