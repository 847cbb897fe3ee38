"""Sets up the demo's stand-ins (Meta's side, a mail server, an order system): credentials, and where they answer."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import secrets
import socket
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx

from dragoman.cli.asgi import ASGIApp
from dragoman.domain.errors import ConfigurationError
from dragoman.settings import Settings
from dragoman_shop.replies import TEMPLATES
from dragoman_shop.steps import text
from dragoman_shop.unusual import GREETING, VISITOR
from graph_standin.app import create_app
from graph_standin.config import Number, StandinConfig
from graph_standin.standin import Standin as Playing
from mail_standin.box import MailBox

PATH = "/standin"
PHONE_NUMBER_ID = "106540352242922"
DISPLAY_PHONE_NUMBER = "+43 1 555 0100"
TRADE_PHONE_NUMBER_ID = "106540352242930"
TRADE_DISPLAY_PHONE_NUMBER = "+43 1 555 0119"
"""The number for trade customers, under the same business account."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StandinCredentials:
    """Holds the credentials of the demo's numbers, made at random on each machine, and the other servers' ports."""

    token: str
    control_token: str
    app_secret: str
    verify_token: str
    phone_number_id: str = PHONE_NUMBER_ID
    trade_phone_number_id: str = TRADE_PHONE_NUMBER_ID
    waba_id: str = "102290129340398"
    mail_port: int = 0
    order_system_port: int = 0


def make() -> StandinCredentials:
    """Make new credentials."""
    return StandinCredentials(
        token=secrets.token_urlsafe(24),
        control_token=secrets.token_urlsafe(24),
        app_secret=secrets.token_hex(16),
        verify_token=secrets.token_urlsafe(16),
        mail_port=_free_port(),
        order_system_port=_free_port(),
    )


def _free_port() -> int:
    """A port that nobody listens on now; mailboxes and triggers of the demo name it, so that it stays the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def mail_server(playing: StandinCredentials) -> str:
    """Give the address of the mail server, as a mailbox names it."""
    return f"smtp://127.0.0.1:{playing.mail_port}?tls=none"


def order_system(playing: StandinCredentials) -> str:
    """Give the address of the order system, as a trigger names it."""
    return f"http://127.0.0.1:{playing.order_system_port}"


def mail_box(settings: Settings, clock: Callable[[], float] = time.time) -> MailBox:
    """What the mail server has received."""
    return MailBox(settings.data_directory / "mail-standin", clock)


def _path(settings: Settings) -> Path:
    return settings.data_directory / "standin.json"


def save(settings: Settings, standin: StandinCredentials) -> None:
    """Keep the credentials for the next start, readable by this user only."""
    path = _path(settings)
    path.touch(mode=0o600)
    path.write_text(json.dumps(dataclasses.asdict(standin), indent=1))


def load(settings: Settings) -> StandinCredentials:
    """Read the credentials that the demo made. Raises ConfigurationError where there is no demo yet."""
    try:
        return StandinCredentials(**json.loads(_path(settings).read_text()))
    except FileNotFoundError as error:
        raise ConfigurationError("there is no demo in this data directory yet; run `dragoman demo` first") from error


def point_at(settings: Settings, standin: StandinCredentials) -> Settings:
    """Turn the Graph API's address to the stand-in, unless the operator named another, and let webhooks come here."""
    local = f"http://127.0.0.1:{settings.port}{PATH}"
    own = settings.graph_url if settings.graph_url_given else local
    private = settings.http_skill_private
    here = dataclasses.replace(private, networks=(*private.networks, ipaddress.ip_network("127.0.0.1")))
    given = {"graph_url": own, "standin_token": standin.control_token, "http_skill_private": here}
    return settings.model_copy(update=given)


async def greet(standin: StandinCredentials, played: Playing) -> None:
    """Let somebody write to the demo, as a contact does: a conversation is in progress whenever it was started."""
    about = {"phone_number_id": standin.phone_number_id, "from": VISITOR.phone.lstrip("+"), "name": VISITOR.name}
    await played.play({**about, "message": text(GREETING)})


def application(
    settings: Settings,
    standin: StandinCredentials,
    *,
    http: Callable[[], httpx.AsyncClient] | None = None,
    clock: Callable[[], datetime] | None = None,
    instant: bool = False,
) -> tuple[ASGIApp, Playing]:
    """The stand-in's application, and its state to close at the end.

    *instant* sends all statuses of a message at once and without delay.
    """
    config = StandinConfig(
        webhook_url=f"http://127.0.0.1:{settings.port}/webhooks/whatsapp",
        control_token=standin.control_token,
        numbers=tuple(
            Number(
                phone_number_id=phone_number_id,
                token=standin.token,
                app_secret=standin.app_secret,
                display_phone_number=display,
                waba_id=standin.waba_id,
            )
            for phone_number_id, display in (
                (standin.phone_number_id, DISPLAY_PHONE_NUMBER),
                (standin.trade_phone_number_id, TRADE_DISPLAY_PHONE_NUMBER),
            )
        ),
        journal_path=settings.data_directory / "standin-journal.jsonl",
        public_url=f"http://127.0.0.1:{settings.port}{PATH}",
        status_delay=0.0 if instant else 0.4,
        statuses_together=instant,
        templates=TEMPLATES,
    )
    if http is not None:
        config = dataclasses.replace(config, http=http)
    if clock is not None:
        config = dataclasses.replace(config, clock=clock)
    app = create_app(config)
    return app, app.state.standin
