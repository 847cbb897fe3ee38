"""What every answer of the web process has in common: headers, problems, limits; its description and its health."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dragoman.runtime import Runtime
from dragoman.web.http.middleware import CONTENT_SECURITY_POLICY

from .tenant_fixture import TenantFixture, bearer


@pytest.fixture
async def reader(tenant: TenantFixture) -> dict[str, str]:
    """The header of a script that may read."""
    return bearer(await tenant.token("auditor"))


async def test_head_is_get_without_the_body(client: httpx.AsyncClient, reader: dict[str, str]) -> None:
    for address, status in (("/healthz", 200), ("/login", 200), ("/api/v1/conversations", 200), ("/nothing", 404)):
        headers = reader if address != "/login" else {}
        told, answer = await client.head(address, headers=headers), await client.get(address, headers=headers)
        assert (told.status_code, told.content) == (status, b""), address
        assert told.headers["content-type"] == answer.headers["content-type"]
        assert told.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert (await client.head("/logout", headers=reader)).status_code == 405


async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, reader: dict[str, str]) -> None:
    for address, status in (
        ("/api/v1/conversations", 200),
        ("/api/v1/conversations?limit=x", 422),
        ("/api/v1/nothing", 404),
        ("/nothing", 404),
        ("/login", 200),
        ("/communications/automation/logs", 200),
        ("/healthz", 200),
    ):
        answer = await client.get(address, headers=reader if address != "/login" else {})
        assert answer.status_code == status, address
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/conversations", 405),
        ("DELETE", "/api/v1/conversations/00000000-0000-0000-0000-000000000000", 405),
        ("PUT", "/webhooks/whatsapp", 405),
        ("BREW", "/api/v1/conversations", 405),
    ],
)
async def test_refusals_are_problems(
    client: httpx.AsyncClient, reader: dict[str, str], method: str, address: str, status: int
) -> None:
    answer = await client.request(method, address, headers={**reader, "Accept": "text/html"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "request_id"} <= set(answer.json())
    assert status != 405 or answer.headers["allow"]


async def test_people_get_a_page_instead(client: httpx.AsyncClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = await client.get("/nothing", headers=browser)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/")
    assert answer.headers["x-request-id"] in answer.text
    assert (await client.get("/nothing")).headers["content-type"] == "application/problem+json"


async def test_a_body_that_is_too_large_is_413(client: httpx.AsyncClient, runtime: Runtime) -> None:
    async def chunks() -> Any:
        for _ in range(200):
            yield b"email=" + b"a" * 1000

    limit = runtime.settings.webhook_body_limit
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    declared = await client.post("/login", content=b"a" * (limit + 1), headers=form)
    streamed = await client.post("/login", content=chunks(), headers=form)
    assert (declared.status_code, streamed.status_code) == (413, 413)


async def test_what_nobody_expected_is_a_500_with_the_request_id_and_no_detail(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async def broken() -> None:
        raise RuntimeError("the secret is 12345")

    async def away() -> None:
        raise ConnectionRefusedError("connection refused")

    app.add_api_route("/api/broken", broken)
    app.add_api_route("/api/away", away)
    answer = await client.get("/api/broken")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "12345" not in answer.text
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    gone = await client.get("/api/away")
    assert (gone.status_code, gone.headers["retry-after"]) == (503, "5")


async def test_the_openapi_document_names_every_parameter_and_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()
    base, one = "/api/v1/conversations", "/api/v1/conversations/{session_id}"
    assert set(document["paths"]) == {
        "/api/v1/events", base, f"{base}/export", one, f"{one}/transcript", f"{one}/timeline",
        f"{one}/transcript/{{message_id}}/raw", f"{one}/media/{{message_id}}", f"{one}/review", f"{one}/review/notes",
        f"{one}/review/notes/{{note_id}}", f"{one}/review/tags/{{tag}}", f"{one}/review/reviewed", f"{one}/evidence",
        "/api/v1/deliveries", "/api/v1/deliveries/{delivery_id}", "/api/v1/deliveries/{delivery_id}/body",
        "/api/v1/outbox", "/api/v1/outbox/export", "/api/v1/outbox/actions", "/api/v1/outbox/{outbox_entry_id}",
        *(f"/api/v1/outbox/{{outbox_entry_id}}/{what}" for what in ("retry", "resend", "cancel")),
        "/api/v1/triggers", "/api/v1/triggers/dry-run", "/api/v1/triggers/{trigger_name}",
        *(f"/api/v1/triggers/{{trigger_name}}/{what}" for what in ("fire", "dry-run", "enable", "disable", "keys")),
        "/api/v1/triggers/{trigger_name}/keys/{key_id}",
        "/api/v1/mail-templates", "/api/v1/mail-templates/preview", "/api/v1/mail-templates/{template_name}",
        "/api/v1/mail-templates/{template_name}/versions", "/api/v1/mail-templates/attachments",
        "/api/v1/mailboxes", "/api/v1/mailboxes/{account_id}", "/api/v1/mailboxes/{account_id}/check",
        "/api/v1/classifier", "/api/v1/classifier/trial", "/api/v1/classifier/measurement", "/api/v1/classifier/live",
        "/api/v1/classifier/threshold", "/api/v1/classifier/phrases", "/api/v1/classifier/phrases/{phrase_id}",
        "/api/v1/insights/skills", "/api/v1/insights/skills/calls", "/api/v1/insights/questions",
        "/api/v1/insights/questions/{group_id}/phrases", "/api/v1/insights/questions/{group_id}/reopen",
        "/api/v1/exports", "/api/v1/exports/{export_id}", "/api/v1/exports/{export_id}/file", "/api/v1/access-log",
        f"{one}/hold", "/api/v1/holds", "/api/v1/settings/handoff", "/api/v1/agents", "/api/v1/agents/{user_id}",
        f"{one}/hold", "/api/v1/canned-replies", "/api/v1/canned-replies/{canned_reply_id}",
        "/api/v1/templates", "/api/v1/sessions/active", "/api/v1/sessions/{session_id}/release",
        "/api/v1/sessions/{session_id}/end", "/api/v1/handoffs", "/api/v1/handoffs/{session_id}",
        *(
            f"/api/v1/handoffs/{{session_id}}/{what}"
            for what in (
                "claim", "take-over", "assign", "unassign", "answers", "notes", "return", "resolve", "draft",
            )
        ),
        "/api/v1/skills", "/api/v1/skills/{name}", "/api/v1/skills/{name}/keys/{key_id}",
        *(f"/api/v1/skills/{{name}}/{what}" for what in ("retire", "restore", "keys", "test-call")),
    }  # fmt: skip
    listing = document["paths"][base]["get"]
    names = {parameter["name"]: parameter for parameter in listing["parameters"]}
    assert set(names) == {
        "phone", "intent", "skill", "state", "state_not", "outcome", "outcome_not", "outcome_ever", "undelivered",
        "channel", "business_partner",
        "agent", "errors", "tag", "reviewed", "q", "from", "to", "contact", "sort", "cursor", "limit",
    }  # fmt: skip
    assert all(parameter["description"] for parameter in names.values())
    assert set(listing["responses"]) == {"200", "401", "403", "422", "429", "503"}
    assert listing["responses"]["422"]["content"].keys() == {"application/problem+json"}
    assert {"token", "session"} == set(document["components"]["securitySchemes"])
    references = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert references <= set(document["components"]["schemas"])


async def test_the_reference_page_lists_what_the_document_has(client: httpx.AsyncClient) -> None:
    page = await client.get("/api/docs")
    assert page.status_code == 200
    document = (await client.get("/api/v1/openapi.json")).json()
    for path in document["paths"]:
        assert path in page.text
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page.text
    assert "https://" not in page.text
    for link in re.findall(r'href="#(\w+)"', page.text):
        assert f'id="{link}"' in page.text


READY = {"database": "ok", "migrations": "ok", "queue": "ok", "channels": "ok"}


async def test_health(runtime: Runtime, client: httpx.AsyncClient, app: FastAPI) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    ready = await client.get("/readyz")
    assert ready.json() == {"status": "ok", "checks": READY}
    assert ready.status_code == 200
    metrics = await client.get("/metrics")
    assert 'dragoman_webhook_requests_total{result="accepted"}' in metrics.text
    assert "dragoman_channel_accounts_stopped 0.0" in metrics.text
    app.state.schema_revision = "9999"
    behind = await client.get("/readyz")
    assert behind.status_code == 503
    assert behind.json()["checks"]["migrations"] != "ok"
    await runtime.database.close()
    away = await client.get("/readyz")
    assert away.status_code == 503
    assert away.json()["checks"]["database"].startswith("failed")
    assert (await client.get("/healthz")).status_code == 200
