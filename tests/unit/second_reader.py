"""Pywa, a client for the Cloud API that others wrote, as a second reader of what passes between us and Meta's side."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pywa
from pywa import handlers
from pywa.types.base_update import BaseUpdate

from graph_standin import Number, Standin, StandinConfig
from graph_standin.answers import PlannedFault
from graph_standin.templates import Templates

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NUMBER = Number(phone_number_id="700", token="t-700", app_secret="s-700", display_phone_number="+43 1 23")

_HANDLERS: tuple[type[handlers.Handler[Any]], ...] = (
    handlers.AccountUpdateHandler,
    handlers.CallbackButtonHandler,
    handlers.CallbackSelectionHandler,
    handlers.CallPermissionUpdateHandler,
    handlers.DeletedMessageHandler,
    handlers.EditedMessageHandler,
    handlers.FlowCompletionHandler,
    handlers.IdentityChangeHandler,
    handlers.MessageHandler,
    handlers.MessageStatusHandler,
    handlers.OutgoingMessageHandler,
    handlers.PhoneNumberChangeHandler,
    handlers.TemplateCategoryUpdateHandler,
    handlers.TemplateComponentsUpdateHandler,
    handlers.TemplateQualityUpdateHandler,
    handlers.TemplateStatusUpdateHandler,
    handlers.UserMarketingPreferencesHandler,
)


def read(body: bytes, signature: str) -> BaseUpdate:
    """Read a webhook with pywa: its check of the signature, then its model. Fails where it cannot make one."""
    client = pywa.WhatsApp(
        phone_id=NUMBER.phone_number_id,
        token=NUMBER.token,
        app_secret=NUMBER.app_secret,
        verify_token="v",
        filter_updates=False,
        session=httpx.Client(),
    )
    assert client.webhook_update_validator(body, signature) is None
    seen: list[BaseUpdate] = []

    def keep(_client: pywa.WhatsApp, update: BaseUpdate) -> None:
        seen.append(update)

    client.add_handlers(*(handler(keep) for handler in _HANDLERS))
    assert client.webhook_update_handler(body) == ("ok", 200)
    assert seen, f"pywa cannot read {body.decode()}"
    return seen[0]


def signature_of(body: bytes) -> str:
    """The signature that Meta would send with *body*."""
    return "sha256=" + hmac.new(NUMBER.app_secret.encode(), body, hashlib.sha256).hexdigest()


class SecondWriter:
    """Pywa's client with a stand-in behind it: keeps the bodies that it posts."""

    def __init__(self, templates: Templates | None = None) -> None:
        config = StandinConfig(
            webhook_url="http://nobody.test",
            control_token="control",
            numbers=(NUMBER,),
            clock=lambda: AT,
            statuses=False,
            templates=templates,
        )
        self.standin = Standin(config)
        self.bodies: list[dict[str, Any]] = []
        session = httpx.Client(transport=httpx.MockTransport(self._answer))
        self.client = pywa.WhatsApp(phone_id=NUMBER.phone_number_id, token=NUMBER.token, session=session)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        assert request.url.path.endswith(f"/{NUMBER.phone_number_id}/messages"), request.url
        if request.headers["authorization"] != f"Bearer {NUMBER.token}":
            fault = PlannedFault(190, "")
            return httpx.Response(fault.status, json=fault.body)
        body = json.loads(request.content)
        self.bodies.append(body)
        reply = self.standin.send(NUMBER, body)
        return httpx.Response(reply.status, json=reply.answer)

    def written(self, send: Callable[[pywa.WhatsApp], object]) -> dict[str, Any]:
        """The body that pywa posts for *send*; the stand-in has taken it, and pywa has read the answer."""
        send(self.client)
        return self.bodies.pop()

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the stand-in answers to *body*, read by pywa, which raises its own error for a refusal."""
        answer = self.client.api.send_raw_request("POST", f"/{NUMBER.phone_number_id}/messages", json=body)
        assert isinstance(answer, dict)
        return answer


def what_it_says(value: Any) -> Any:
    """*value* without what says nothing in JSON: absent and null, empty lists, and numbers written as text."""
    if isinstance(value, dict):
        said = {key: what_it_says(item) for key, item in value.items()}
        return {key: _written(key, item) for key, item in said.items() if item is not None and item != []}
    return [what_it_says(item) for item in value] if isinstance(value, list | tuple) else value


def _written(key: str, item: Any) -> Any:
    # Meta takes a button's index as text and as a number, and the types of a template's parts in any case.
    return str(item) if key == "index" else item.lower() if key in {"type", "sub_type"} else item
