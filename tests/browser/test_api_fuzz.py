"""The API as a stranger's tool reads it: every operation of the OpenAPI document, with what fits it and what does not.

schemathesis talks to the real server, in a tenant of its own, since it writes whatever fits.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from dragoman.store.accounts import api_tokens
from tests.browser.browser_server import BrowserServer
from tests.waiting import PATIENCE_S

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
EXAMPLES = 15


def _token(site: BrowserServer) -> str:
    runtime = site.harness.runtime

    async def make() -> str:
        now = runtime.clock.now()
        async with runtime.database.tenant(site.harness.tenant_id) as connection:
            return await api_tokens.create_token(
                connection, site.harness.tenant_id, token_id=uuid4(), name="fuzz", role="administrator", now=now,
                expires_at=now + timedelta(hours=1),
            )  # fmt: skip

    return site.do(make())


def test_no_operation_fails_or_answers_what_the_document_does_not_say(own: BrowserServer, tmp_path: Path) -> None:
    own.converse("where is my order", phone="436990001122", name="Ada Api")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{own.url}/api/v1/openapi.json",
            "--url", own.url, "--header", f"Authorization: Bearer {_token(own)}",
            "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
            "--seed", "1", "--continue-on-failure", "--warnings", "off", "--no-color",
            # A stream that does not end.
            "--exclude-path", "/api/v1/events",
        ],
        capture_output=True, text=True, timeout=10 * PATIENCE_S, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
