"""What can be asked about a number and its business account, in Meta's own shapes.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/phone-numbers
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from graph_standin.answers import PlannedFault
from graph_standin.config import Number


def proof_fault(number: Number, proof: str | None) -> PlannedFault | None:
    """What is wrong with the proof of the app secret that came with a call; None where none came or it is right."""
    if proof is None:
        return None
    right = hmac.new(number.app_secret.encode(), number.token.encode(), hashlib.sha256).hexdigest()
    if hmac.compare_digest(right.encode(), proof.encode()):
        return None
    return PlannedFault(100, "Invalid appsecret_proof provided in the API argument")


def number_object(number: Number, fields: str | None) -> dict[str, Any]:
    """The number, with the *fields* that were asked for, or the usual ones."""
    whole: dict[str, Any] = {
        "verified_name": number.verified_name,
        "code_verification_status": "VERIFIED",
        "display_phone_number": number.display_phone_number,
        "quality_rating": "GREEN",
        "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"},
        "name_status": "APPROVED",
        "status": "CONNECTED",
    }
    usual = ("verified_name", "code_verification_status", "display_phone_number", "quality_rating", "throughput")
    wanted = fields.split(",") if fields else usual
    return {**{name: whole[name] for name in wanted if name in whole}, "id": number.phone_number_id}


def subscribed_apps(number: Number) -> dict[str, Any]:
    """The apps that get the business account's webhooks."""
    apps = [
        {"whatsapp_business_api_data": {"id": str(10**15 + place), "link": "https://www.facebook.com/", "name": name}}
        for place, name in enumerate(number.subscribed_apps)
    ]
    return {"data": apps}
