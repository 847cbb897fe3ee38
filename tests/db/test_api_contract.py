"""What the API's document promises, kept: what is refused and how, which methods an address takes, what is deleted."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from dragoman.domain.content import Text, to_json
from dragoman.runtime import Runtime
from dragoman.services.exports.background_exports import prepare_export
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.web.api import reference
from dragoman.web.http.problems import MEDIA_TYPE
from tests.endless import ENDLESS

from .tenant_fixture import TenantFixture, bearer
from .test_background_exports import API, PAGE, ask, files
from .test_export_control import recorded

UNLIKELY: list[Any] = [None, 5, 1.5, True, [], {}, [1], {"a": 1}, "", "\0", "x" * 3000, "\ud800", "2026-13-45"]
"""What a client that got it wrong sends in place of a value."""


@pytest.fixture
async def administrator(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


@pytest.fixture
async def auditor(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("auditor"))


def schema_of(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = described["components"]["schemas"][name] if name else schema
    return found


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in reference.document(app)["paths"].items()
        for method, operation in methods.items()
    ]


def address(path: str) -> str:
    """An address with names that nothing has: skills are called by names of a certain form, all else by ids."""
    named = path.replace("/skills/{name}", "/skills/some.skill")
    return re.sub(r"\{\w+(:\w+)?\}", str(uuid4()), named)


async def test_w13_no_field_of_any_body_fails_by_its_type(
    app: FastAPI, client: httpx.AsyncClient, administrator: dict[str, str]
) -> None:
    described, asked = reference.document(app), 0
    for method, path, operation in operations(app):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        fields = schema_of(described, content["schema"]).get("properties", {})
        for field in fields:
            for value in UNLIKELY:
                base = {"format": "csv"} if path == API else {}
                answer = await client.request(
                    method, address(path), content=json.dumps({**base, field: value}),
                    headers={**administrator, "Content-Type": "application/json"},
                )  # fmt: skip
                assert answer.status_code < 500, (method, path, field, value)
                asked += 1
    assert asked > 200


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize("value", [5, 1.5, True, [], {}, None])
async def test_w13_a_time_of_an_export_that_is_no_text_is_named(
    client: httpx.AsyncClient, auditor: dict[str, str], name: str, value: Any
) -> None:
    answer = await client.post(API, json={"format": "csv", name: value}, headers=auditor)
    if value is None:
        assert answer.status_code == 202
        return
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [name]


async def test_w13_bytes_that_are_no_text_are_a_documented_400(
    app: FastAPI, client: httpx.AsyncClient, administrator: dict[str, str]
) -> None:
    asked = 0
    for method, path, operation in operations(app):
        # What takes a file takes any bytes.
        if "application/json" not in operation.get("requestBody", {}).get("content", {}):
            continue
        answer = await client.request(
            method, address(path), content=b'{"format": "\xff\xfe"}',
            headers={**administrator, "Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status_code == 400, (method, path, answer.text)
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert MEDIA_TYPE in operation["responses"]["400"]["content"], (method, path)
        asked += 1
    assert asked > 10


async def test_w14_an_export_is_what_the_document_says(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str]
) -> None:
    session_id = await tenant.session(message_count=1)
    await tenant.message(session_id, 1, to_json(Text("Hi")))
    paths = reference.document(app)["paths"]

    def documented(path: str) -> set[str]:
        content = paths[path]["get"]["responses"]["200"]["content"]
        assert all(found["schema"] == {"type": "string", "format": "binary"} for found in content.values())
        return set(content)

    seen = set()
    for kind in ("csv", "jsonl", "parquet", "bundle"):
        streamed = await client.get("/api/v1/conversations/export", params={"format": kind}, headers=auditor)
        export_id = await ask(client, auditor, format=kind)
        await prepare_export(runtime, tenant.tenant_id, export_id)
        kept = await client.get(f"{API}/{export_id}/file", headers=auditor)
        for answer in (streamed, kept):
            assert answer.status_code == 200
            seen.add(answer.headers["content-type"].partition(";")[0])
    assert seen == documented("/api/v1/conversations/export") == documented("/api/v1/exports/{export_id}/file")
    evidence = await client.get(f"/api/v1/conversations/{session_id}/evidence", headers=auditor)
    assert documented("/api/v1/conversations/{session_id}/evidence") == {evidence.headers["content-type"]}


async def test_w15_allow_names_every_method_of_the_address(app: FastAPI, client: httpx.AsyncClient) -> None:
    routes = [route for route in iter_route_contexts(app.routes) if route.methods and route.path]
    several = 0
    for path in {route.path for route in routes if route.path}:
        # What matches the address of this one: also patterns that were written for others.
        asked = address(path)
        methods = {method for route in routes if route.path_regex.match(asked) for method in route.methods or ()}
        wanted = methods | ({"HEAD"} if "GET" in methods else set())
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} - wanted:
            answer = await client.request(method, asked)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == wanted, (method, path)
        several += len(methods) > 1
    assert several > 5


async def test_w16_a_finished_export_is_deleted_with_its_file_at_once(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str]
) -> None:
    session_id = await tenant.session(message_count=1)
    await tenant.message(session_id, 1, to_json(Text("Hi, call +43 660 1234567")))
    export_id, other = await ask(client, auditor), await ask(client, auditor)
    for one in (export_id, other):
        assert await prepare_export(runtime, tenant.tenant_id, one) == "done"
    assert len(files(runtime)) == 2
    assert (await client.delete(f"{API}/{export_id}", headers=auditor)).status_code == 204
    assert len(files(runtime)) == 1
    for method, path in (("GET", ""), ("GET", "/file"), ("DELETE", "")):
        assert (await client.request(method, f"{API}/{export_id}{path}", headers=auditor)).status_code == 404
    assert [item["export_id"] for item in (await client.get(API, headers=auditor)).json()["items"]] == [str(other)]
    (said,) = [action for action in await recorded(tenant) if action["action"] == "export.deleted"]
    assert said["object_id"] == str(export_id)
    # The page does the same.
    page = (await client.get(PAGE, headers=auditor)).text
    assert f"{PAGE}/{other}/delete" in page
    assert (await client.post(f"{PAGE}/{other}/delete", headers=auditor)).status_code == 303
    assert files(runtime) == []


async def test_w16_only_its_owner_or_an_administrator_deletes_an_export(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str],
    administrator: dict[str, str],
) -> None:  # fmt: skip
    export_id = await ask(client, auditor)
    await prepare_export(runtime, tenant.tenant_id, export_id)
    colleague = bearer(await tenant.token("auditor"))
    assert (await client.delete(f"{API}/{export_id}", headers=colleague)).status_code == 403
    assert (await client.post(f"{PAGE}/{export_id}/delete", headers=colleague)).status_code == 403
    assert len(files(runtime)) == 1
    assert (await client.delete(f"{API}/{export_id}", headers=administrator)).status_code == 204
    assert files(runtime) == []


async def test_w16_an_export_whose_file_cannot_be_deleted_stays(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, auditor: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    export_id = await ask(client, auditor)
    await prepare_export(runtime, tenant.tenant_id, export_id)

    async def unreachable(_key: object) -> None:
        raise BlobsUnavailableError("no route to the media store")

    with monkeypatch.context() as patch:
        patch.setattr(runtime.blobs, "delete", unreachable)
        assert (await client.delete(f"{API}/{export_id}", headers=auditor)).status_code == 503
    assert (await client.get(f"{API}/{export_id}", headers=auditor)).json()["state"] == "done"
    assert "export.deleted" not in [action["action"] for action in await recorded(tenant)]


async def test_w17_an_export_declares_no_part_of_a_list(
    app: FastAPI, client: httpx.AsyncClient, auditor: dict[str, str]
) -> None:
    described = reference.document(app)
    parameters = {given["name"] for given in described["paths"]["/api/v1/conversations/export"]["get"]["parameters"]}
    assert not {"cursor", "limit"} & parameters
    assert not {"cursor", "limit"} & described["components"]["schemas"]["ExportOrder"]["properties"].keys()
    for name in ("cursor", "limit"):
        asked = {"format": "csv", name: "1"}
        for answer in (
            await client.get("/api/v1/conversations/export", params=asked, headers=auditor),
            await client.post(API, json=asked, headers=auditor),
        ):
            assert answer.status_code == 422
            assert answer.json()["errors"] == [{"parameter": name, "detail": "no such parameter"}]


async def test_w17_an_empty_parameter_is_refused_and_named(
    app: FastAPI, client: httpx.AsyncClient, administrator: dict[str, str]
) -> None:
    asked = 0
    for method, path, operation in operations(app):
        if path in ENDLESS:
            continue
        for given in operation.get("parameters", ()):
            if given["in"] != "query":
                continue
            answer = await client.request(
                method, address(path), params={"format": "csv"} | {given["name"]: ""} if "export" in path else
                {given["name"]: ""}, headers=administrator,
            )  # fmt: skip
            assert answer.status_code == 422, (path, given["name"], answer.text)
            assert given["name"] in [error["parameter"] for error in answer.json()["errors"]], path
            asked += 1
    assert asked > 30


@pytest.mark.parametrize(
    ("path", "method", "name", "taken", "refused"),
    [
        ("/api/v1/conversations/{session_id}/review/tags/{tag}", "put", "tag", ["a", "ab.c:d/e+f-g h", "3"],
         ["-a", " ", "a,b", "a" * 41, "a;"]),
        ("/api/v1/conversations", "get", "cursor", ["QWJj-_"], ["", "a b", "ä", "=" * 3]),
        ("/api/v1/conversations", "get", "q", ["a", "ä\n"], ["", "a\0b"]),
        ("/api/v1/access-log", "get", "actor", ["Ada"], ["", "\0"]),
    ],
)  # fmt: skip
def test_w17_what_a_parameter_takes_is_declared(
    app: FastAPI, path: str, method: str, name: str, taken: list[str], refused: list[str]
) -> None:
    (given,) = [one for one in reference.document(app)["paths"][path][method]["parameters"] if one["name"] == name]
    kinds = given["schema"].get("anyOf", [given["schema"]])
    (schema,) = [kind for kind in kinds if kind.get("type") == "string"]
    assert [text for text in taken if not re.search(schema["pattern"], text)] == []
    assert [text for text in refused if re.search(schema["pattern"], text)] == []


def test_w17_what_a_note_takes_is_declared(app: FastAPI) -> None:
    pattern = reference.document(app)["components"]["schemas"]["NewNote"]["properties"]["body"]["pattern"]
    assert all(re.search(pattern, text) for text in ("a", " two\n\tlines ", "ä"))
    assert not any(re.search(pattern, text) for text in ("", " \n", "a\0", "bell\x07", "\x7f"))


def choices_of(described: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """The values that a parameter's schema lists, if it is a text of a few."""
    found = schema_of(described, schema)
    kinds = [found, *found.get("anyOf", [])]
    for inner in [*kinds, *(kind.get("items", {}) for kind in kinds)]:
        values: list[str] = schema_of(described, inner).get("enum", [])
        if values:
            return values
    return []


async def test_a_value_that_is_nearly_right_was_refused_without_a_hint(
    app: FastAPI, client: httpx.AsyncClient, administrator: dict[str, str]
) -> None:
    """Whatever parameter has a list of values: the answer names them all and the nearest, and no class of ours."""
    described, asked = reference.document(app), set()
    for method, path, operation in operations(app):
        for parameter in operation.get("parameters", []):
            values = choices_of(described, parameter["schema"])
            if not values or parameter["in"] != "query":
                continue
            name, wrong = parameter["name"], f"{values[0].swapcase()}x"
            answer = await client.request(method, address(path), params={name: wrong}, headers=administrator)
            assert answer.status_code == 422, (path, name)
            said = [error["detail"] for error in answer.json()["errors"] if error["parameter"] == name]
            assert said == [f"not an allowed value. Did you mean {values[0]}? Allowed values: {', '.join(values)}"], (
                path,
                name,
            )
            asked.add((path, name))
    assert {("/api/v1/outbox", "sort"), ("/api/v1/outbox", "status"), ("/api/v1/access-log", "kind")} <= asked
    assert {("/api/v1/conversations", "outcome"), ("/api/v1/conversations", "state")} <= asked


async def test_a_refused_value_says_what_to_write_in_plain_words(
    client: httpx.AsyncClient, administrator: dict[str, str]
) -> None:
    for address_, name, said in (
        ("/api/v1/conversations?outcome=skill_error", "outcome", "Did you mean SKILL_ERROR?"),
        ("/api/v1/conversations?limit=many", "limit", "must be a whole number"),
        ("/api/v1/conversations?limit=0", "limit", "must be 1 or more"),
        ("/api/v1/conversations?limit=999", "limit", "must be 200 or less"),
        ("/api/v1/conversations?errors=perhaps", "errors", "use true or false"),
        ("/api/v1/outbox?session=x", "session", "must be an ID, such as 0190f2c4-0000-7000-8000-000000000001"),
        ("/api/v1/conversations/export", "format", "is required"),
    ):
        answer = await client.get(address_, headers=administrator)
        assert answer.status_code == 422, address_
        (error,) = answer.json()["errors"]
        assert error["parameter"] == name
        assert said in error["detail"], address_
