"""Where Meta delivers: https://developers.facebook.com/docs/graph-api/webhooks/getting-started

The size cap comes first, then the signature over the raw bytes, then parsing. 200 means committed. Anything but
200 makes Meta deliver again, for days.
"""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dragoman.services import accept_delivery
from dragoman.services.accept_delivery import Refused, RefusedReason
from dragoman.store.database import UNAVAILABLE
from dragoman.web.auth import same
from dragoman.web.metrics import WEBHOOK_REQUESTS
from dragoman.web.middleware import read_limited
from dragoman.web.ports import Ports
from dragoman.web.problems import RETRY_AFTER_SECONDS

log = structlog.get_logger()
router = APIRouter(prefix="/webhooks", include_in_schema=False)

_REFUSALS = {
    RefusedReason.UNSIGNED: (401, "The X-Hub-Signature-256 header is missing."),
    RefusedReason.WRONG_SIGNATURE: (401, "The signature does not fit the body."),
    RefusedReason.MALFORMED: (400, "The body is not a WhatsApp webhook delivery."),
    # Meta keeps it and comes again, for days: until then an administrator can mend the account.
    RefusedReason.UNREADABLE_ACCOUNT: (503, "It is for a number whose credentials cannot be read at present."),
}


@router.get("/whatsapp")
async def verify(request: Request, runtime: Ports) -> Response:
    """Meta's handshake when the webhook is set up: answers the challenge to who knows a verify token."""
    parameters = request.query_params
    given = parameters.get("hub.verify_token", "")
    # Every token is compared, so that the time does not tell which one was close.
    known = [same(given, token) for token in await accept_delivery.verify_tokens(runtime)]
    if parameters.get("hub.mode") != "subscribe" or not any(known):
        raise HTTPException(403, "The verify token is not one of this installation's.")
    return PlainTextResponse(parameters.get("hub.challenge", ""))


@router.post("/whatsapp")
async def receive(request: Request, runtime: Ports) -> Response:
    """Take in one delivery; what is refused leaves nothing but a counter."""
    try:
        body = await read_limited(request, runtime.settings.webhook_body_limit)
    except HTTPException:
        WEBHOOK_REQUESTS.labels("too_large").inc()
        raise
    try:
        result = await accept_delivery.accept(runtime, body, request.headers.get("x-hub-signature-256"))
    except UNAVAILABLE as error:
        WEBHOOK_REQUESTS.labels("unavailable").inc()
        log.warning("delivery not accepted: database unavailable", error=repr(error))
        raise HTTPException(503, headers={"Retry-After": RETRY_AFTER_SECONDS}) from error
    except Exception:
        WEBHOOK_REQUESTS.labels("failed").inc()
        raise
    if isinstance(result, Refused):
        WEBHOOK_REQUESTS.labels(str(result.reason)).inc()
        status, detail = _REFUSALS[result.reason]
        raise HTTPException(status, detail, {"Retry-After": RETRY_AFTER_SECONDS} if status == 503 else None)
    WEBHOOK_REQUESTS.labels("accepted").inc()
    return JSONResponse({"accepted": result.messages + result.statuses + result.others})
