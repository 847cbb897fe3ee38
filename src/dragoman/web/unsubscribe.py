"""Takes whoever asks off the mails of triggers: by a button on a page, or by a mail program's one request (RFC 8058).

Nobody signs in for it, and no token of a form is asked for: the address itself is sealed, and leads to one thing only.
The answer is the same whether or not the address ever got a mail.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from dragoman.services.automation.unsubscribe import PATH, read_unsubscribe_token, unsubscribe
from dragoman.web.console import render
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False)

LONGEST_TOKEN = 2000


@router.get(f"{PATH}/{{token}}")
async def ask_to_unsubscribe(request: Request, runtime: RuntimeDependency, token: str) -> Response:
    """Show the page with its button. Looking at it changes nothing: mail servers look at links."""
    if len(token) > LONGEST_TOKEN or read_unsubscribe_token(runtime, token) is None:
        return _unknown(request)
    return _page(request, is_done=False)


@router.post(f"{PATH}/{{token}}")
async def take_off(request: Request, runtime: RuntimeDependency, token: str) -> Response:
    """Take the address off, whatever the body says; done twice, it is the same."""
    found = read_unsubscribe_token(runtime, token) if len(token) <= LONGEST_TOKEN else None
    if found is None:
        return _unknown(request)
    tenant_id, address = found
    form = await request.form(max_files=0, max_fields=10)
    how = "one click" if form.get("List-Unsubscribe") == "One-Click" else "page"
    await unsubscribe(runtime, tenant_id, address, how=how)
    return _page(request, is_done=True)


def _page(request: Request, *, is_done: bool) -> Response:
    return _private(render(request, "unsubscribe.html", is_done=is_done, is_known=True))


def _unknown(request: Request) -> Response:
    return _private(render(request, "unsubscribe.html", status_code=404, is_done=False, is_known=False))


def _private(response: Response) -> Response:
    # The address of the page is the right to use it: neither a search engine nor another site gets it.
    response.headers["X-Robots-Tag"] = "noindex"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
