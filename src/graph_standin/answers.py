"""Writes Meta's answers in its own shapes.

Error codes and their HTTP statuses:
https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Any

TITLES: dict[int, tuple[int, str]] = {
    0: (401, "AuthException"),
    1: (400, "API Unknown"),
    2: (503, "API Service"),
    3: (500, "API Method"),
    4: (400, "API Too Many Calls"),
    10: (403, "Permission Denied"),
    33: (400, "Parameter value is not valid"),
    100: (400, "Invalid parameter"),
    190: (401, "Access token has expired"),
    368: (403, "Temporarily blocked for policies violations"),
    613: (429, "Calls to this api have exceeded the rate limit"),
    80007: (400, "Rate limit issues"),
    130429: (400, "Rate limit hit"),
    130472: (400, "User's number is part of an experiment"),
    130497: (403, "Business account is restricted from messaging users in this country"),
    131000: (500, "Something went wrong"),
    131005: (403, "Access denied"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131016: (500, "Service unavailable"),
    131021: (400, "Recipient cannot be sender"),
    131026: (400, "Message undeliverable"),
    131030: (400, "Recipient phone number not in allowed list"),
    131031: (403, "Account has been locked"),
    131037: (400, "Display name is not approved"),
    131042: (400, "Business eligibility payment issue"),
    131045: (500, "Incorrect certificate"),
    131047: (400, "Re-engagement message"),
    131048: (400, "Spam rate limit hit"),
    131049: (400, "This message was not delivered to maintain healthy ecosystem engagement"),
    131050: (400, "User has stopped marketing messages"),
    131051: (400, "Unsupported message type"),
    131052: (400, "Media download error"),
    131053: (400, "Media upload error"),
    131056: (400, "Pair rate limit hit"),
    131057: (500, "Account in maintenance mode"),
    132000: (400, "Template param count mismatch"),
    132001: (404, "Template does not exist"),
    132005: (400, "Template hydrated text too long"),
    132007: (400, "Template format character policy violated"),
    132008: (400, "Template parameter value is invalid"),
    132012: (400, "Template parameter format mismatch"),
    132015: (400, "Template is paused"),
    132016: (400, "Template is disabled"),
    132068: (400, "Flow is blocked"),
    132069: (400, "Flow is throttled"),
    133004: (503, "Server temporarily unavailable"),
    133016: (400, "Account register deregister rate limit exceeded"),
    135000: (400, "Generic user error"),
    137000: (400, "Identity key hash mismatch"),
    131044: (400, "Business eligibility payment issue"),
    131062: (400, "Business-scoped user id is not supported for this message"),
    131063: (400, "Marketing messages are disabled"),
    131064: (400, "Template classification messaging limit reached"),
    133010: (400, "Phone number not registered"),
}


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A refusal: Meta's code, its details, and the HTTP status if it is not the code's usual one."""

    code: int
    details: str
    http_status: int | None = None
    subcode: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status to answer with."""
        usual = 403 if 200 <= self.code <= 299 else 400
        return self.http_status or TITLES.get(self.code, (usual, ""))[0]

    @property
    def body(self) -> dict[str, Any]:
        """Write the answer's JSON."""
        error: dict[str, Any] = {
            "message": f"(#{self.code}) {title(self.code)}",
            "type": "OAuthException",
            "code": self.code,
            "error_data": {"messaging_product": "whatsapp", "details": self.details},
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        return {"error": {**error, "fbtrace_id": secrets.token_urlsafe(9)}}


def title(code: int) -> str:
    """Give Meta's title for a code."""
    return TITLES.get(code, (400, "Error"))[1]


def new_wamid() -> str:
    """A message id as Meta makes them: opaque, under 128 characters."""
    return "wamid." + base64.b64encode(secrets.token_bytes(30)).decode()


def accepted(body: dict[str, Any], wamid: str) -> dict[str, Any]:
    """The answer to a message that was taken; a user id stands in it only where the message went to one."""
    if body.get("to") is not None:
        contact = {"input": body["to"], "wa_id": digits(body["to"])}
    else:
        contact = {"input": body["recipient"], "user_id": body["recipient"]}
    return {"messaging_product": "whatsapp", "contacts": [contact], "messages": [{"id": wamid}]}


def digits(number: Any) -> str:
    """Write a phone number as a WhatsApp id."""
    return "".join(filter(str.isdigit, str(number)))
