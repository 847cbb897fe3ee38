"""Error pages of the console: who is signed in keeps the menu, and is told what to do."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException

from dragoman.web.auth import Principal, signed_in

from .tenant_fixture import TenantFixture, bearer

BROWSER = {"Accept": "text/html"}
MENU = 'aria-label="Primary"'


@pytest.fixture
def failing(app: FastAPI) -> FastAPI:
    """The application with an address that answers with any status."""

    @app.get("/fails/{status}")
    async def fail(status: int, identity: Annotated[Principal, Depends(signed_in)]) -> None:
        if status == 500:
            raise RuntimeError(f"on purpose, for {identity.name}")
        raise HTTPException(status)

    return app


async def person(tenant: TenantFixture, role: str = "administrator") -> dict[str, str]:
    return BROWSER | await tenant.cookie(await tenant.user(role))


def text_of(page: httpx.Response) -> str:
    main = page.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 413, 422, 429, 500, 503])
async def test_an_error_page_lost_the_menu(
    failing: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, status: int
) -> None:
    assert failing is not None
    page = await client.get(f"/fails/{status}", headers=await person(tenant))
    assert page.status_code == status
    assert MENU in page.text
    assert '<a href="/communications/handoff-inbox"' in page.text
    assert f"Error {status} · request ID" in text_of(page)
    # What HTTP calls it is nothing that a person says.
    assert not re.search(r"Forbidden|Unprocessable|Internal Server|Service Unavailable|Gone\b", text_of(page))


async def test_an_address_without_a_page_keeps_the_menu_for_who_is_signed_in(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    administrator = await person(tenant)
    for address in ("/communications/nowhere", f"/communications/automation/logs/{uuid4()}"):
        page = await client.get(address, headers=administrator)
        assert page.status_code == 404
        assert MENU in page.text
        assert "Page not found" in text_of(page)
        assert "The link may be incomplete, or belong to another tenant." in text_of(page)
    stranger = await client.get("/communications/nowhere", headers=BROWSER)
    assert stranger.status_code == 404
    assert MENU not in stranger.text
    assert "Page not found" in text_of(stranger)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("/communications/settings/users", "Manage settings"),
        ("/access-log", "Read the access log"),
        ("/communications/sessions/active", "Supervise conversations"),
        ("/communications/automation/exports", "Export conversations"),
        ("/simulator", "Simulate and resend"),
    ],
)
async def test_a_refusal_named_an_identifier_and_nobody_to_ask(
    client: httpx.AsyncClient, tenant: TenantFixture, address: str, wanted: str
) -> None:
    page = await client.get(address, headers=await person(tenant, "developer"))
    assert page.status_code == 403
    assert MENU in page.text
    assert f"You don’t have access. Ask an administrator for “{wanted}”." in text_of(page)
    assert not re.search(r"[a-z_]+\.(access:)?(read|write|admin|export)\b", text_of(page))


async def test_programs_get_the_permission_in_a_field_of_its_own(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    answer = await client.get("/api/v1/access-log", headers=bearer(await tenant.token("developer")))
    assert answer.status_code == 403
    problem = answer.json()
    assert problem["permission"] == "audit.read"
    assert problem["detail"] == "You don’t have access. Ask an administrator for “Read the access log”."
    known = await client.get("/api/v1/nowhere", headers=bearer(await tenant.token("developer")))
    assert "permission" not in known.json()


@pytest.mark.parametrize(
    "page",
    [
        "/access-log",
        "/communications/settings/deliveries",
        "/communications/insights/skills/calls",
        "/communications/automation/logs?tab=email",
    ],
)
async def test_from_after_to_is_told_in_every_list_of_records(
    client: httpx.AsyncClient, tenant: TenantFixture, page: str
) -> None:
    joint = "&" if "?" in page else "?"
    answer = await client.get(f"{page}{joint}from=2026-11-24&to=2026-11-23", headers=await person(tenant))
    assert answer.status_code == 422
    assert "“From” is after “To”" in text_of(answer)
    assert "Clear all filters" in text_of(answer)
