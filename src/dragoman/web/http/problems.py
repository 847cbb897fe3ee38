"""Answers every refusal and every failure: problem+json (RFC 9457) for programs, a page for people."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from jinja2 import TemplateNotFound
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from dragoman.domain.errors import NotFoundError
from dragoman.domain.text_values import choice_refusal
from dragoman.store.accounts.look_ups import TooManyLookUpsError
from dragoman.store.conversation_list.conversations import TooSlowError
from dragoman.store.database import UNAVAILABLE, is_unstorable
from dragoman.web.auth import (
    SAFE_METHODS,
    MissingPermissionError,
    SignInRequired,
    identify,
    login_address,
    split_address,
)
from dragoman.web.console import render
from dragoman.web.console.menu import current_address
from dragoman.web.http.dependencies import request_id_of
from dragoman.web.http.middleware import route_of

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"

# What programs ask for; an error there is never a page, whatever the Accept header says.
FOR_PROGRAMS = ("/api/", "/webhooks/", "/healthz", "/readyz", "/metrics")

_EXPLANATIONS = {
    400: "The request could not be read.",
    403: "You don’t have access. Ask an administrator.",
    404: "The link may be incomplete, or belong to another tenant.",
    405: "This address does not support that method.",
    408: "The request took too long to arrive. Try again.",
    410: "It has been deleted.",
    413: "The request is too large.",
    415: "This address does not accept that content type.",
    422: "Some of the values cannot be used.",
    429: "Too many requests. Wait a moment and try again.",
    500: "Something went wrong on our side. Try again; if it happens again, send the request id to an administrator.",
    503: "The database cannot be reached right now. Try again in a few seconds.",
}


_TITLES = {
    403: "No access",
    404: "Page not found",
    410: "No longer available",
    422: "Check the values",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not available right now",
}
"""How a page is headed; programs get HTTP's own phrase."""

_SAID: Mapping[str, str] = {
    "extra_forbidden": "no such parameter",
    "missing": "is required",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "use true or false",
    "bool_type": "use true or false",
    "string_type": "must be text",
    "uuid_parsing": "must be an id, such as 0190f2c4-0000-7000-8000-000000000001",
    "uuid_type": "must be an id, such as 0190f2c4-0000-7000-8000-000000000001",
    "list_type": "must be a list",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "json_invalid": "the body is not valid JSON",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
}
"""What is said of a value, by Pydantic's type of error; of one that is not here what Pydantic says."""


class ParameterError(BaseModel):
    """What is wrong with one parameter; in a text also in which line, and with which of its variables."""

    parameter: str
    detail: str
    line: int | None = None
    variable: str | None = None


class Problem(BaseModel):
    """Describes an error. `errors` is there only where parameters were wrong, `permission` where one is missing."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    permission: str | None = None
    errors: list[ParameterError] | None = None


@dataclass
class InvalidParameterError(Exception):
    """A parameter that is well-formed by its type and still cannot be used."""

    parameter: str
    detail: str


@dataclass
class InvalidParametersError(Exception):
    """All that is wrong with what was sent, in its own order."""

    errors: Sequence[ParameterError]


@dataclass
class TypedProblemError(Exception):
    """Is a refusal that programs tell from others of its status by its ``type``."""

    status: int
    type: str
    detail: str


def install(app: FastAPI) -> None:
    """Make *app* answer exceptions in this way; what nobody expected is :func:`unexpected`'s."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InvalidParameterError, _invalid)
    app.add_exception_handler(InvalidParametersError, _invalid)
    app.add_exception_handler(TypedProblemError, _typed)
    app.add_exception_handler(SignInRequired, _sign_in)
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(TooSlowError, _too_slow)
    app.add_exception_handler(TooManyLookUpsError, _too_many_look_ups)


def answer(
    request: Request,
    status: int,
    detail: str = "",
    *,
    errors: Sequence[ParameterError] = (),
    headers: Mapping[str, str] | None = None,
    kind: str = "about:blank",
    permission: str | None = None,
) -> Response:
    """The problem as a page where a browser asks for one, else as problem+json."""
    title = _title(status)
    detail = detail if detail and detail != title else _EXPLANATIONS.get(status, title)
    problem = Problem(
        type=kind,
        title=title,
        status=status,
        detail=detail,
        request_id=request_id_of(request),
        permission=permission,
        errors=list(errors) or None,
    )
    if not _wants_page(request):
        content = problem.model_dump(exclude_none=True)
        return JSONResponse(content, status, dict(headers or {}), MEDIA_TYPE)
    response = _page(request, problem)
    response.headers.update(headers or {})
    return response


async def unexpected(request: Request, error: Exception) -> Response:
    """The answer to an exception that nobody caught: 422 or 503 where the database says so, else 500; logged."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    if is_unstorable(error):
        # Each field is checked where it is read; this is for the one that was forgotten.
        log.warning("value refused by the database", method=request.method, error=type(error).__name__)
        return answer(request, 422, "A value in it holds characters or a number that cannot be stored or looked for.")
    if isinstance(error, UNAVAILABLE):
        log.warning("database unavailable", method=request.method, route=route_of(request.scope), error=error)
        return answer(request, 503, headers={"Retry-After": RETRY_AFTER_SECONDS})
    log.error("request failed", method=request.method, route=route_of(request.scope), error=error)
    return answer(request, 500)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows what Starlette's signature leaves open
    headers = dict(error.headers or {})
    if _wants_page(request):
        # Where no route asked, who is signed in still gets the menu; without a database there is nobody to show.
        with contextlib.suppress(*UNAVAILABLE):
            await identify(request)
    if error.status_code == 405:
        # The framework names the methods of the first route that has the path; others may take other methods.
        headers["Allow"] = ", ".join(sorted(_methods_of(request, request.scope["path"])))
    permission = error.permission if isinstance(error, MissingPermissionError) else None
    return answer(request, error.status_code, str(error.detail), headers=headers, permission=permission)


def _methods_of(request: Request, path: str) -> set[str]:
    """Every method that *path* takes."""
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.methods and route.path_regex.match(path):
            found |= route.methods
    return found | ({"HEAD"} if "GET" in found else set())


async def _typed(request: Request, error: Exception) -> Response:
    assert isinstance(error, TypedProblemError)  # noqa: S101 - as above
    return answer(request, error.status, error.detail, kind=error.type)


async def _invalid(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        errors = [_parameter_error(found) for found in error.errors()]
    elif isinstance(error, InvalidParametersError):
        errors = list(error.errors)
    else:
        assert isinstance(error, InvalidParameterError)  # noqa: S101 - as above
        errors = [ParameterError(parameter=error.parameter, detail=error.detail)]
    detail = "; ".join(f"{found.parameter}: {found.detail}" for found in errors)
    return answer(request, 422, detail, errors=errors)


async def _not_found(request: Request, error: Exception) -> Response:
    return answer(request, 404, str(error))


async def _too_slow(request: Request, error: Exception) -> Response:
    return answer(request, 503, str(error), headers={"Retry-After": RETRY_AFTER_SECONDS})


async def _too_many_look_ups(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyLookUpsError)  # noqa: S101 - as above
    return answer(request, 429, str(error), headers={"Retry-After": str(error.wait_s)})


async def _sign_in(request: Request, _error: Exception) -> Response:
    if request.url.path.startswith("/api/"):
        return answer(
            request,
            401,
            "Send a bearer token that is valid, or log in.",
            headers={"WWW-Authenticate": 'Bearer realm="dragoman"'},
        )
    if "hx-request" in request.headers:
        # A redirect would be followed by the fetch and put the login page into a part of this one.
        return Response(status_code=401, headers={"HX-Redirect": login_address(_page_of_part(request))})
    return RedirectResponse(login_address(_page_wanted(request)), 303)


def _page_wanted(request: Request) -> str:
    """The page that *request* asks for, or the one whose form it sends; empty for none."""
    if request.method in SAFE_METHODS:
        return _written(request.url.path, request.url.query)
    before = split_address(request.headers.get("referer", ""))
    is_ours = before.netloc == request.headers.get("host") and "GET" in _methods_of(request, before.path)
    return _written(before.path, before.query) if is_ours else ""


def _page_of_part(request: Request) -> str:
    """The page that shows the part that is asked for: with the filters that are being set, where the page has some."""
    path, query = request.url.path, request.url.query
    if request.method in SAFE_METHODS and query and current_address(path) == path:
        return _written(path, query)
    current = split_address(request.headers.get("hx-current-url", ""))
    return _written(current.path, current.query)


def _written(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _parameter_error(found: Mapping[str, Any]) -> ParameterError:
    # The location is ("query", "limit"), ("path", "session_id"), ("body", "items", 3, "name"); in an address a value of
    # a parameter that takes several has no number that its sender would know: ("query", "state", 0).
    inner = found["loc"][1:] or found["loc"]
    if found["loc"][0] == "query":
        inner = inner[:1]
    return ParameterError(parameter=".".join(map(str, inner))[:100], detail=_said_of(found))


def _said_of(found: Mapping[str, Any]) -> str:
    context = found.get("ctx", {})
    if found["type"] in {"enum", "literal_error"}:
        # Pydantic writes the choices as a text: 'a', 'b' or 'c'.
        return choice_refusal(context["expected"].split("'")[1::2], str(found["input"])[:100])
    said = _SAID.get(found["type"])
    return said.format_map(context) if said is not None else found["msg"].removeprefix("Value error, ")


def _wants_page(request: Request) -> bool:
    if request.url.path.startswith(FOR_PROGRAMS):
        return False
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    return next((kind == "text/html" for kind in accepted if kind in {"text/html", "application/json"}), False)


def _page(request: Request, problem: Problem) -> Response:
    try:
        response: Response = render(
            request,
            "error.html",
            status=problem.status,
            title=_TITLES.get(problem.status, problem.title),
            detail=problem.detail,
            request_id=problem.request_id,
        )
    except TemplateNotFound:
        text = f"{problem.status} {problem.title}\n\n{problem.detail}\n\nRequest id: {problem.request_id}\n"
        response = PlainTextResponse(text)
    response.status_code = problem.status
    return response


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
