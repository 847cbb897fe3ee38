"""Looks at a number through the Graph API: is the token good, the app secret the app's own, are webhooks sent to us?

Nothing is changed by it. https://developers.facebook.com/docs/graph-api/guides/secure-requests has the proof of the app
secret, https://developers.facebook.com/documentation/business-messaging/whatsapp/solution-providers/manage-webhooks the
subscriptions.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from dragoman.channels.interface import Checked, CheckFinding, Refused, Unanswered
from dragoman.channels.whatsapp.client import GraphClient
from dragoman.channels.whatsapp.wire import Object, each, table, text
from dragoman.translations import deferred

NUMBER_FIELDS = "id,display_phone_number,verified_name,quality_rating,name_status,status,throughput"


async def check(
    client: GraphClient, *, phone_number_id: str, waba_id: str | None, token: str, app_secrets: Sequence[str]
) -> Checked:
    """Ask Meta about the number; what goes wrong on the way is a finding, not an exception."""
    answer = await client.look(phone_number_id, token, fields=NUMBER_FIELDS)
    findings = [_number(answer)]
    if findings[0].good:
        findings += [
            await _secret(client, phone_number_id, token, secret, place) for place, secret in enumerate(app_secrets)
        ]
        findings.append(await _subscribed(client, waba_id, token))
    return Checked(findings=tuple(findings))


def _number(answer: Object | Refused | Unanswered) -> CheckFinding:
    if not isinstance(answer, dict):
        return _trouble(deferred("Access token"), answer)
    seen = {
        "number": text(answer.get("display_phone_number")),
        "name": text(answer.get("verified_name")),
        "quality": text(answer.get("quality_rating")),
        "name status": text(answer.get("name_status")),
        "status": text(answer.get("status")),
        "throughput": text(table(answer.get("throughput")).get("level")),
    }
    return CheckFinding(
        deferred("Access token"), True, ", ".join(f"{key} {value}" for key, value in seen.items() if value)
    )


async def _secret(client: GraphClient, phone_number_id: str, token: str, secret: str, place: int) -> CheckFinding:
    name = deferred("App secret") if place == 0 else deferred("Earlier app secret")
    answer = await client.look(phone_number_id, token, fields="id", proof=app_secret_proof(token, secret))
    if isinstance(answer, dict):
        return CheckFinding(name, True, deferred("Meta takes its proof."))
    # An earlier secret is wrong as soon as Meta's own rotation is over; then it should be removed, that is all.
    found = _trouble(name, answer)
    return (
        found
        if place == 0
        else CheckFinding(name, None, deferred("Not the app’s any more: remove it. %(said)s", said=found.said))
    )


async def _subscribed(client: GraphClient, waba_id: str | None, token: str) -> CheckFinding:
    name = deferred("Webhook subscription")
    if waba_id is None:
        return CheckFinding(name, None, deferred("Give the business account’s ID to have this checked."))
    answer = await client.look(f"{waba_id}/subscribed_apps", token)
    if not isinstance(answer, dict):
        return _trouble(name, answer)
    apps = [
        text(table(table(app).get("whatsapp_business_api_data")).get("name")) or "?" for app in each(answer.get("data"))
    ]
    if not apps:
        none = deferred("No app is subscribed to the business account: no message will come in.")
        return CheckFinding(name, False, none)
    return CheckFinding(name, True, deferred("Subscribed: %(apps)s", apps=", ".join(apps)))


def _trouble(name: str, answer: Refused | Unanswered) -> CheckFinding:
    if isinstance(answer, Unanswered):
        return CheckFinding(name, None, deferred("Meta could not be asked: %(reason)s", reason=answer.reason))
    code = f" (code {answer.code})" if answer.code is not None else ""
    return CheckFinding(name, False, f"{answer.message}{code}")


def app_secret_proof(token: str, app_secret: str) -> str:
    """What shows that a call with *token* comes from whoever has the app secret."""
    return hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
