"""Runs the stand-in as a server of its own, for one number."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uvicorn

from graph_standin.app import create_app
from graph_standin.config import Number, StandinConfig


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="graph_standin",
        description="A stand-in for Meta's side of WhatsApp.",
        epilog="Secrets may come from GRAPH_STANDIN_TOKEN, GRAPH_STANDIN_APP_SECRET and "
        "GRAPH_STANDIN_CONTROL_TOKEN instead, where no list of processes shows them.",
    )
    secret = {"token": "bearer token of the number", "app-secret": "signs the webhooks"}
    secret["control-token"] = "opens /journal, /control and /inbound"
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument("--webhook-url", required=True, help="where statuses and inbound messages go")
    for name, described in secret.items():
        variable = f"GRAPH_STANDIN_{name.upper().replace('-', '_')}"
        given = os.environ.get(variable)
        parser.add_argument(f"--{name}", default=given, required=given is None, help=described)
    parser.add_argument("--phone-number-id", default="100000000000002")
    parser.add_argument("--display-phone-number", default="15550100000")
    parser.add_argument("--waba-id", default="100000000000001")
    parser.add_argument("--journal", type=Path, help="file that every call is appended to")
    parser.add_argument("--public-url", help="its own address, for media; from host and port if absent")
    parser.add_argument("--status-delay", type=float, default=0.2, help="seconds before each status")
    parser.add_argument("--no-statuses", action="store_true", help="send no status webhooks")
    return parser.parse_args()


def main() -> None:
    """Run until interrupted."""
    given = _arguments()
    number = Number(
        phone_number_id=given.phone_number_id,
        token=given.token,
        app_secret=given.app_secret,
        display_phone_number=given.display_phone_number,
        waba_id=given.waba_id,
    )
    config = StandinConfig(
        webhook_url=given.webhook_url,
        control_token=given.control_token,
        numbers=(number,),
        journal_path=given.journal,
        public_url=given.public_url or f"http://{given.host}:{given.port}",
        statuses=not given.no_statuses,
        status_delay=given.status_delay,
    )
    uvicorn.run(create_app(config), host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
