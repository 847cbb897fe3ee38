"""The choice of a classifier: what the policy refuses, and the key that is kept apart from it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Budget, classifier_from_json
from dragoman.runtime import Runtime
from dragoman.services.catalogue.change_policy import change_policy
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import skills
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture

KEY = "sk-key-of-the-test-0815"
MODEL = {"kind": "model", "base_url": "https://models.example/v1", "model": "some-model"}
INSIDE = MODEL | {"base_url": "http://127.0.0.1:11434/v1"}
PRICED = MODEL | {"output_micros_per_million": 600_000}


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


async def test_the_key_is_sealed_put_on_record_without_itself_and_removed(
    runtime: Runtime, tenant: TenantFixture, database_urls: DatabaseURLs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_OWNER_DATABASE_URL": database_urls.owner,
        "DRAGOMAN_DATA_DIR": str(tmp_path_factory.mktemp("home")),
        "DRAGOMAN_SECRET_KEY": runtime.settings.secret_key,
    }

    async def run(*words: str, typed: str = "") -> Any:
        given = ["classifier", "key", *words, "--tenant", tenant.slug]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, given, typed)

    assert (await run("add", typed=f"{KEY}\n")).exit_code == 0
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        sealed = (await skills.dispatch_rules(connection, tenant.tenant_id)).classifier_key
    assert sealed is not None
    assert runtime.keyring.decrypt(sealed).decode() == KEY
    assert (await run("add", typed="two words\n")).exit_code == 1
    assert (await run("add", typed="sk-Schl\u00fcssel\n")).exit_code == 1
    assert (await run("remove")).exit_code == 0
    assert (await run("remove")).exit_code == 1
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert (await skills.dispatch_rules(connection, tenant.tenant_id)).classifier_key is None
        rows = await connection.fetch("SELECT action, before, after FROM administrator_action ORDER BY at, action_id")
    assert [row["action"] for row in rows] == ["classifier.key_added", "classifier.key_removed"]
    assert KEY not in json.dumps([[row["before"], row["after"]] for row in rows])
