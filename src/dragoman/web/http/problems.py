"""Answers every refusal and every failure: problem+json (RFC 9457) for programs, a page for people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
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
from dragoman.translations import DeferredText, deferred, translated
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
    400: deferred("The request could not be read."),
    403: deferred("You don’t have access. Ask an administrator."),
    404: deferred("The link may be incomplete, or belong to another tenant."),
    405: deferred("This address does not support that method."),
    408: deferred("The request took too long to arrive. Try again."),
    410: deferred("It has been deleted."),
    413: deferred("The request is too large."),
    415: deferred("This address does not accept that content type."),
    422: deferred("Some of the values cannot be used."),
    429: deferred("Too many requests. Wait a moment and try again."),
    500: deferred(
        "Something went wrong on our side. Try again; if it happens again, send the request ID to an administrator."
    ),
    503: deferred("The database cannot be reached right now. Try again in a few seconds."),
}


_TITLES = {
    403: deferred("No access"),
    404: deferred("Page not found"),
    410: deferred("No longer available"),
    422: deferred("Check the values"),
    429: deferred("Too many requests"),
    500: deferred("Something went wrong"),
    503: deferred("Not available right now"),
}
"""How a page is headed; programs get HTTP's own phrase."""

_SAID: Mapping[str, Callable[[Mapping[str, Any]], DeferredText]] = {
    "extra_forbidden": lambda _limits: deferred("no such parameter"),
    "missing": lambda _limits: deferred("is required"),
    "int_parsing": lambda _limits: deferred("must be a whole number"),
    "int_type": lambda _limits: deferred("must be a whole number"),
    "int_from_float": lambda _limits: deferred("must be a whole number"),
    "float_parsing": lambda _limits: deferred("must be a number"),
    "float_type": lambda _limits: deferred("must be a number"),
    "bool_parsing": lambda _limits: deferred("use true or false"),
    "bool_type": lambda _limits: deferred("use true or false"),
    "string_type": lambda _limits: deferred("must be text"),
    "uuid_parsing": lambda _limits: deferred("must be an ID, such as 0190f2c4-0000-7000-8000-000000000001"),
    "uuid_type": lambda _limits: deferred("must be an ID, such as 0190f2c4-0000-7000-8000-000000000001"),
    "list_type": lambda _limits: deferred("must be a list"),
    "dict_type": lambda _limits: deferred("must be a JSON object"),
    "model_type": lambda _limits: deferred("must be a JSON object"),
    "model_attributes_type": lambda _limits: deferred("must be a JSON object"),
    "json_invalid": lambda _limits: deferred("the body is not valid JSON"),
    "string_too_short": lambda limits: deferred(
        "must have at least %(min_length)s characters", min_length=limits["min_length"]
    ),
    "string_too_long": lambda limits: deferred(
        "must have at most %(max_length)s characters", max_length=limits["max_length"]
    ),
    "too_short": lambda limits: deferred("must have at least %(min_length)s items", min_length=limits["min_length"]),
    "too_long": lambda limits: deferred("must have at most %(max_length)s items", max_length=limits["max_length"]),
    "greater_than": lambda limits: deferred("must be more than %(gt)s", gt=limits["gt"]),
    "greater_than_equal": lambda limits: deferred("must be %(ge)s or more", ge=limits["ge"]),
    "less_than": lambda limits: deferred("must be less than %(lt)s", lt=limits["lt"]),
    "less_than_equal": lambda limits: deferred("must be %(le)s or less", le=limits["le"]),
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
    on_page: str = "",
) -> Response:
    """The problem as a page where a browser asks for one, else as problem+json.

    *on_page* stands on a page in place of *detail*.
    """
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
    response = _page(request, problem, on_page or detail)
    response.headers.update(headers or {})
    return response


async def unexpected(request: Request, error: Exception) -> Response:
    """The answer to an exception that nobody caught: 422 or 503 where the database says so, else 500; logged."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    if is_unstorable(error):
        # Each field is checked where it is read; this is for the one that was forgotten.
        log.warning("value refused by the database", method=request.method, error=type(error).__name__)
        return answer(
            request,
            422,
            deferred("A value in it holds characters or a number that cannot be stored or looked for."),
        )
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
    return answer(request, error.status_code, _text(error.detail), headers=headers, permission=permission)


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
    on_page = ""
    if isinstance(error, RequestValidationError):
        wrong = error.errors()
        errors = [_parameter_error(found) for found in wrong]
        on_page = "; ".join(f"{_parameter(found)}: {translated(_said_of(found))}" for found in wrong)
    elif isinstance(error, InvalidParametersError):
        errors = list(error.errors)
    else:
        assert isinstance(error, InvalidParameterError)  # noqa: S101 - as above
        errors = [ParameterError(parameter=error.parameter, detail=error.detail)]
    detail = "; ".join(f"{found.parameter}: {found.detail}" for found in errors)
    return answer(request, 422, detail, errors=errors, on_page=on_page)


async def _not_found(request: Request, error: Exception) -> Response:
    return answer(request, 404, _text(*error.args))


async def _too_slow(request: Request, error: Exception) -> Response:
    return answer(request, 503, _text(*error.args), headers={"Retry-After": RETRY_AFTER_SECONDS})


async def _too_many_look_ups(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyLookUpsError)  # noqa: S101 - as above
    return answer(request, 429, _text(*error.args), headers={"Retry-After": str(error.wait_s)})


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


def _text(said: object = "", *_more: object) -> str:
    """What an error says, still to be translated where it was made for that."""
    return said if isinstance(said, str) else str(said)


def _parameter_error(found: Mapping[str, Any]) -> ParameterError:
    return ParameterError(parameter=_parameter(found), detail=_said_of(found))


def _parameter(found: Mapping[str, Any]) -> str:
    # The location is ("query", "limit"), ("path", "session_id"), ("body", "items", 3, "name"); in an address a value of
    # a parameter that takes several has no number that its sender would know: ("query", "state", 0).
    inner = found["loc"][1:] or found["loc"]
    if found["loc"][0] == "query":
        inner = inner[:1]
    return ".".join(map(str, inner))[:100]


def _said_of(found: Mapping[str, Any]) -> str:
    context = found.get("ctx", {})
    if found["type"] in {"enum", "literal_error"}:
        # Pydantic writes the choices as a text: 'a', 'b' or 'c'.
        return choice_refusal(context["expected"].split("'")[1::2], str(found["input"])[:100])
    said = _SAID.get(found["type"])
    return said(context) if said is not None else found["msg"].removeprefix("Value error, ")


def _wants_page(request: Request) -> bool:
    if request.url.path.startswith(FOR_PROGRAMS):
        return False
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    return next((kind == "text/html" for kind in accepted if kind in {"text/html", "application/json"}), False)


def _page(request: Request, problem: Problem, detail: str) -> Response:
    try:
        response: Response = render(
            request,
            "error.html",
            status=problem.status,
            title=_TITLES.get(problem.status, problem.title),
            detail=detail,
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
