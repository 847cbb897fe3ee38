"""Settings for single sign-on show and set the tenant's identity provider."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.plain_text import cut
from dragoman.services.access import single_sign_on
from dragoman.services.access.identity_provider import ProviderError
from dragoman.store import tenants
from dragoman.store.accounts import roles
from dragoman.store.accounts import single_sign_on as store
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.page import render, sentence
from dragoman.web.http.dependencies import RuntimeDependency

ADDRESS = "/communications/settings/sign-on"

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Settings = Annotated[Principal, Depends(require("settings.admin"))]


@router.get(ADDRESS)
async def show(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """The provider, and what it has to know of this installation."""
    return await _page(request, runtime, identity)


@router.post(ADDRESS)
async def change(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Set the provider, once it answers."""
    form = await request.form(max_files=0)
    given = {
        name: str(form.get(name, "")).strip()[:4000]
        for name in ("issuer", "client_id", "secret", "claim", "roles", "domains")
    }
    only_way = form.get("only_way") == "yes"
    try:
        await single_sign_on.configure(
            runtime, identity.tenant_id, administrator_of(identity), issuer=given["issuer"],
            client_id=given["client_id"], secret=given["secret"], claim=given["claim"],
            pairs=_pairs(given["roles"]), domains=given["domains"].replace(",", " ").split(), only_way=only_way,
        )  # fmt: skip
    except (ChangeRefusedError, ProviderError) as error:
        return await _page(request, runtime, identity, mistake=sentence(error), given={**given, "only_way": only_way})
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/remove")
async def remove(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Let passwords be the way again."""
    try:
        await single_sign_on.remove(runtime, identity.tenant_id, administrator_of(identity))
    except NotFoundError as error:
        return await _page(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(ADDRESS, 303)


def _pairs(text: str) -> list[tuple[str, str]]:
    """``value = role``, a line each. Raises ChangeRefusedError for a line that is none."""
    pairs = []
    for line in filter(None, map(str.strip, text.splitlines())):
        value, equals, role = (part.strip() for part in line.rpartition("="))
        if not (value and equals and role):
            raise ChangeRefusedError(_("%(line)s is not a line like: value = role.", line=repr(cut(line, 80))))
        pairs.append((value, role.lower()))
    return pairs


async def _page(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    given: dict[str, Any] | None = None,
) -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        known = await store.of(connection, identity.tenant_id)
        own = await tenants.get(connection, identity.tenant_id)
        every = await roles.list_all(connection, identity.tenant_id)
    if given is None and known is not None:
        given = {
            "issuer": known.issuer, "client_id": known.client_id, "claim": known.claim,
            "roles": "\n".join(f"{value} = {role}" for value, role in known.roles),
            "domains": " ".join(known.domains), "only_way": known.only_way,
        }  # fmt: skip
    return render(
        request, "settings/sign_on.html", status_code=422 if mistake else 200, mistake=mistake, given=given or {},
        known=known is not None, address=ADDRESS, roles=sorted(every), callback=single_sign_on.redirect_uri(runtime),
        entrance=f"{runtime.settings.base_url}/login/sso/{own.slug if own else ''}",
    )  # fmt: skip
