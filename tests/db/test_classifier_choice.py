"""The choice of a classifier: what the policy refuses, and the key that is kept apart from it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Phrase, Policy, SkillSpec
from dragoman.domain.policies import Budget, classifier_from_json
from dragoman.runtime import Runtime
from dragoman.services.catalogue.change_policy import change_policy
from dragoman.services.catalogue.model_key import open_key
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import skills
from dragoman.store.embedded import DatabaseURLs
from tests.model_server import KEY, wanting
from tests.skill_server import answering, in_turn, serving

from .tenant_fixture import TenantFixture

MODEL = {"kind": "model", "base_url": "https://models.example/v1", "model": "some-model"}
INSIDE = MODEL | {"base_url": "http://127.0.0.1:11434/v1"}
PRICED = MODEL | {"output_micros_per_million": 600_000}


@pytest.fixture
def terminal(runtime: Runtime, database_urls: DatabaseURLs, tmp_path: Path) -> Mapping[str, str]:
    """The environment of whoever types commands."""
    return {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_OWNER_DATABASE_URL": database_urls.owner,
        "DRAGOMAN_DATA_DIR": str(tmp_path),
        "DRAGOMAN_SECRET_KEY": runtime.settings.secret_key,
        "DRAGOMAN_HTTP_SKILL_PRIVATE": "127.0.0.1",
    }


async def choose(runtime: Runtime, tenant: TenantFixture, choice: dict[str, Any], budget: int = 0) -> Policy:
    wanted = Policy(classifier=classifier_from_json(choice), budget=Budget(classifier_cost_micros=budget))
    return await change_policy(runtime, tenant.tenant_id, COMMAND_LINE, lambda _: wanted)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (INSIDE, "must begin with https:// .or http:// with allow_private"),
        (MODEL | {"base_url": "https://10.1.2.3/v1"}, "10.1.2.3 is not a public address; see allow_private"),
        (MODEL | {"base_url": "https://[::1]/v1"}, "::1 is not a public address"),
        (PRICED, "budget.classifier_cost_micros must say what one run may cost"),
    ],
)
async def test_a_model_that_could_never_be_asked_is_refused(
    runtime: Runtime, tenant: TenantFixture, choice: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await choose(runtime, tenant, choice)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert (await skills.dispatch_rules(connection, tenant.tenant_id)).policy.classifier.kind == "local"


async def test_what_can_be_asked_is_taken_and_on_record(runtime: Runtime, tenant: TenantFixture) -> None:
    assert (await choose(runtime, tenant, PRICED, budget=9000)).classifier.output_micros_per_million == 600_000
    await choose(runtime, tenant, INSIDE | {"allow_private": True})
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT after FROM administrator_action ORDER BY at, action_id")
    assert [row["after"]["classifier"]["base_url"] for row in rows] == [MODEL["base_url"], INSIDE["base_url"]]


async def test_other_parts_can_be_changed_while_a_choice_from_before_stands(
    runtime: Runtime, tenant: TenantFixture
) -> None:
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await skills.set_policy(connection, tenant.tenant_id, Policy(classifier=classifier_from_json(INSIDE)))
    changed = await change_policy(
        runtime, tenant.tenant_id, COMMAND_LINE, lambda known: dataclasses.replace(known, threshold=0.7)
    )
    assert changed.threshold == 0.7


async def test_what_is_chosen_can_be_tried_from_the_terminal(
    runtime: Runtime, tenant: TenantFixture, terminal: Mapping[str, str]
) -> None:
    orders = SkillSpec(
        name="orders.status", label="Orders", version="1", phrases=(Phrase(text="where is my parcel", locale="en"),)
    )
    words = ["classifier", "try", "where is my parcel", "--json", "--tenant", tenant.slug]
    async with serving(in_turn(wanting(orders_status=0.9), answering({}, status=500))) as server:
        choice = MODEL | {"base_url": server.url("/v1"), "allow_private": True, "deadline_s": 60}
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            await skills.register(connection, tenant.tenant_id, [orders], now=runtime.clock.now())
        await choose(runtime, tenant, choice)
        right, failed = [await asyncio.to_thread(CliRunner(env=terminal).invoke, command_line, words) for _ in range(2)]
    assert right.exit_code == 0, right.output
    assert json.loads(right.stdout) == [{"intent": "orders.status", "confidence": 0.9}]
    assert "Read by model, version some-model " in right.stderr
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)[0]["intent"] == "orders.status", "read by the local one"
    assert "Read by local" in failed.stderr
    assert "127.0.0.1 answered HTTP 500 (Internal Server Error) (1 attempt)" in failed.stderr


async def test_the_key_is_sealed_put_on_record_without_itself_and_removed(
    runtime: Runtime, tenant: TenantFixture, terminal: Mapping[str, str]
) -> None:
    async def run(*words: str, typed: str = "") -> Any:
        given = ["classifier", "key", *words, "--tenant", tenant.slug]
        return await asyncio.to_thread(CliRunner(env=terminal).invoke, command_line, given, typed)

    assert (await run("add", typed=f"{KEY}\n")).exit_code == 1, "for which server?"
    await choose(runtime, tenant, MODEL)
    assert (await run("add", typed=f"{KEY}\n")).exit_code == 0
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        sealed = (await skills.dispatch_rules(connection, tenant.tenant_id)).classifier_key
    assert sealed is not None
    assert open_key(runtime.keyring, "https://models.example/another/path", sealed) == KEY
    assert (await run("add", typed="two words\n")).exit_code == 1
    assert (await run("add", typed="sk-Schl\u00fcssel\n")).exit_code == 1
    assert (await run("remove")).exit_code == 0
    assert (await run("remove")).exit_code == 1
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert (await skills.dispatch_rules(connection, tenant.tenant_id)).classifier_key is None
        rows = await connection.fetch("SELECT action, before, after FROM administrator_action ORDER BY at, action_id")
    assert [row["action"] for row in rows] == ["policy.changed", "classifier.key_added", "classifier.key_removed"]
    assert KEY not in json.dumps([[row["before"], row["after"]] for row in rows])
