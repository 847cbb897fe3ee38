"""The API as a stranger's tool reads it: every operation of the OpenAPI document, with what fits it and what does not.

schemathesis talks to the real server, in a tenant of its own, since it writes whatever fits.
"""

from __future__ import annotations

import os
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
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    "negative_data_rejection",
    "positive_data_acceptance",
    "use_after_free",
)
UNCHECKED = ("ensure_resource_availability", "object_level_authorization")
EXAMPLES = 15

BY_MEANING = (
    # What fits these by its form can still name a skill, a person or a template that is not there, or say two things.
    "PUT /api/v1/agents/{user_id}",
    "PUT /api/v1/settings/handoff",
    "POST /api/v1/handoffs/{session_id}/answers",
    # Unicode's categories, and a template's variables, cannot be told by a pattern.
    "PUT /api/v1/conversations/{session_id}/hold",
    "POST /api/v1/canned-replies",
    "PUT /api/v1/canned-replies/{canned_reply_id}",
    # A manifest has a reader of its own; values are for a skill's parameters.
    "PUT /api/v1/skills/{name}",
    "POST /api/v1/skills/{name}/retire",
    "POST /api/v1/skills/{name}/test-call",
    # A definition and a template have readers of their own; values are for what they declare; a mail server's address.
    "PUT /api/v1/triggers/{trigger_name}",
    "POST /api/v1/triggers/dry-run",
    "POST /api/v1/triggers/{trigger_name}/dry-run",
    "POST /api/v1/triggers/{trigger_name}/fire",
    "PUT /api/v1/mail-templates/{template_name}",
    "POST /api/v1/mail-templates/preview",
    "POST /api/v1/mailboxes",
    "PATCH /api/v1/mailboxes/{account_id}",
)
"""Operations that may refuse with 422 what the document allows."""

HOOKS = "tests.browser.api_fuzz_hooks"


def _settings() -> str:
    """The settings of schemathesis: an operation's own would not hold beside checks that an option names."""
    checks = "".join(f"{name}.enabled = {str(name in CHECKS).lower()}\n" for name in (*CHECKS, *UNCHECKED))
    return f"[checks]\n{checks}\n" + "".join(
        f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n\n'
        for name in BY_MEANING
    )


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
    (tmp_path / "schemathesis.toml").write_text(_settings())
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{own.url}/api/v1/openapi.json",
            "--url", own.url, "--header", f"Authorization: Bearer {_token(own)}",
            "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES),
            "--seed", "1", "--continue-on-failure", "--warnings", "off", "--no-color",
            # A stream that does not end.
            "--exclude-path", "/api/v1/events",
        ],
        capture_output=True, text=True, timeout=10 * PATIENCE_S, check=False, cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS,
             "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
