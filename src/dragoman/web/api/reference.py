"""The API's description, for programs (OpenAPI) and for people (a page of our own, so that no CDN is needed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from starlette.responses import JSONResponse, Response

from dragoman.web.auth import SESSION_COOKIE, identify
from dragoman.web.console import render
from dragoman.web.http.problems import ParameterError, Problem

router = APIRouter(prefix="/api", include_in_schema=False)

SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, as `dragoman token` makes it"},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": "A login session"},
}

_REFERENCE = "#/components/schemas/"


@router.get("/v1/openapi.json")
async def openapi(request: Request) -> Response:
    """Send the OpenAPI document."""
    return JSONResponse(document(request.app))


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show the same to people."""
    # For the menu only: the page itself is everyone's.
    await identify(request)
    described = document(request.app)
    return render(request, "api_docs.html", operations=_operations(described), resources=_resources(described))


def document(app: FastAPI) -> dict[str, Any]:
    """Build the OpenAPI document of *app*'s routes under ``/api/``; made once."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title,
            version=app.version,
            summary="What Dragoman's pages show, for programs",
            routes=[r for r in iter_route_contexts(app.routes) if (r.path or "").startswith("/api/")],
        )
        schemas = found["components"]["schemas"]
        for model in (ParameterError, Problem):
            schemas[model.__name__] = model.model_json_schema(ref_template=_REFERENCE + "{model}")
            schemas[model.__name__].pop("$defs", None)
        found["components"]["securitySchemes"] = SCHEMES
        found["security"] = [{scheme: []} for scheme in SCHEMES]
        app.openapi_schema = found
    return app.openapi_schema


@dataclass(frozen=True, slots=True)
class Field:
    """Describes a parameter of an operation, or a field of a resource. ``type`` is for people."""

    name: str
    place: str
    type: str
    resource: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a program can ask for; ``answers`` are (status, description, resource)."""

    anchor: str
    method: str
    path: str
    description: str
    parameters: tuple[Field, ...]
    answers: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """Describes an object with its fields, or an enumeration with its values."""

    name: str
    description: str
    fields: tuple[Field, ...]
    values: tuple[str, ...]


def _operations(described: Mapping[str, Any]) -> list[Operation]:
    return [
        Operation(
            anchor=found["operationId"],
            method=method.upper(),
            path=path,
            description=found.get("description", ""),
            parameters=tuple(
                _field(given["name"], given["schema"], given["in"], given["required"], given.get("description", ""))
                for given in found.get("parameters", ())
            ),
            answers=tuple(_answer(status, answer) for status, answer in found["responses"].items()),
        )
        for path, methods in described["paths"].items()
        for method, found in methods.items()
    ]


def _answer(status: str, answer: Mapping[str, Any]) -> tuple[str, str, str]:
    # A file or a stream has a media type and no schema.
    schemas = [content["schema"] for content in answer.get("content", {}).values() if "schema" in content]
    return status, answer["description"], _type(schemas[0])[1] if schemas else ""


def _resources(described: Mapping[str, Any]) -> list[Resource]:
    return [
        Resource(
            name=name,
            description=schema.get("description", ""),
            fields=tuple(
                _field(key, field, "", key in schema.get("required", ()), field.get("description", ""))
                for key, field in schema.get("properties", {}).items()
            ),
            values=tuple(map(str, schema.get("enum", ()))),
        )
        for name, schema in sorted(described["components"]["schemas"].items())
    ]


def _field(name: str, schema: Mapping[str, Any], place: str, required: bool, description: str) -> Field:
    type_, resource = _type(schema)
    if place:
        # A parameter that may be left out is null to the schema, and nothing that anyone would write.
        type_ = type_.removesuffix(" or null")
    return Field(name, place, type_, resource, required, description.replace("`", ""))


def _type(schema: Mapping[str, Any]) -> tuple[str, str]:
    """What people read for the type, and the resource that it names, if any."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return name, name
    if "anyOf" in schema:
        kinds = [_type(kind) for kind in schema["anyOf"]]
        return " or ".join(text for text, _ in kinds), next((name for _, name in kinds if name), "")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"])), ""
    if schema.get("type") == "array":
        text, name = _type(schema["items"])
        return f"list of {text}", name
    return str(schema.get("format") or schema.get("type", "any")), ""
