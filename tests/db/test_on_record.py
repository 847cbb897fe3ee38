"""M4: creating tenants, users, tokens, changing retention, policies, skills, flows left nothing on the record.

Every route that changes something with an administrator's or an auditor's permission, and every command of the
terminal, is enumerated from the program itself: a new one fails here until it is tried, or said to change nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import typer.main
from fastapi import FastAPI
from typer.testing import CliRunner

from dragoman.channels.interface import Checked, CheckFinding, TemplateList
from dragoman.channels.whatsapp.account_client import WhatsAppClient
from dragoman.cli.main import app as command_line
from dragoman.domain.nouns import SkillSpec
from dragoman.runtime import Runtime
from dragoman.services.access import identity_provider
from dragoman.services.access.identity_provider import Provider
from dragoman.services.channels import manage_accounts
from dragoman.store import tenants
from dragoman.store.accounts import api_tokens
from dragoman.store.catalogue import skill_keys, skills
from dragoman.store.channels.channel_accounts import WhatsAppCredentials
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.auth import SAFE_METHODS

from .automation_fixture import TRIGGER
from .tenant_fixture import TenantFixture, bearer
from .test_people import signed_in
from .test_routes import Route, one_of_everything, routes
from .test_trigger_pages import FORM as TRIGGER_FORM

SETTINGS = "/communications/settings"
LOGS = "/communications/automation/logs"

CLASSIFIER = "/communications/skills/classifier"
CHANGES_NOTHING = {
    ("POST", f"{CLASSIFIER}/measure"): "measures what is there",
    ("POST", "/api/v1/classifier/measurement"): "measures what is there",
    ("POST", f"{SETTINGS}/channels/{{account_id}}/check"): "asks Meta, and keeps what it said",
    ("POST", f"{SETTINGS}/redaction/try"): "shows what would be stored of a text",
    ("POST", f"{SETTINGS}/canned-replies/preview"): "shows how a reply reads",
    ("POST", "/api/v1/mail-templates/preview"): "shows how a mail reads",
    ("POST", "/api/v1/mail-templates/attachments"): "keeps a file that no version has yet; saving one is on record",
    ("POST", f"{SETTINGS}/email-templates/{{template_name}}/preview"): "shows how a mail reads",
    ("POST", "/api/v1/triggers/dry-run"): "shows what would be sent",
    ("POST", "/api/v1/triggers/{trigger_name:named}/dry-run"): "shows what would be sent",
    ("POST", "/api/v1/mailboxes/{account_id}/check"): "asks the mail server, and keeps what it said",
}


@dataclass(frozen=True)
class TriedRequest:
    """One request that changes something, and what has to be there first, as SQL."""

    form: Mapping[str, Any] = field(default_factory=dict)
    first: str = ""


NUMBER = {
    "display": "+43 1 555 0100", "name": "Service", "messages_per_second": "80", "pair_burst": "45",
    "token": "token", "app_secret": "secret", "verify_token": "verify", "phone_number_id": "123456789",
}  # fmt: skip
SIGN_ON = {"issuer": "https://id.example", "client_id": "c", "secret": "s", "claim": "groups", "roles": "a = agent"}
UNREACHABLE = "UPDATE channel_account SET open_since = now(), failing_since = now()"
STOPPED = "UPDATE channel_account SET stopped_at = now(), stopped_reason = 'spam'"
OPEN_EXPORT = "UPDATE export_request SET state = 'waiting'"
DONE_EXPORT = "UPDATE export_request SET state = 'failed'"
TWO_SPELLINGS = (
    "INSERT INTO contact (tenant_id, contact_id, display_name, locale, created_at) "
    "SELECT tenant_id, id, '', 'pt', now() FROM tenant, unnest(ARRAY['00000000-0000-4000-8000-000000000001'::uuid, "
    "'00000000-0000-4000-8000-000000000002']) AS id; "
    "INSERT INTO contact_identity (tenant_id, kind, value, match_key, contact_id, created_at) "
    "SELECT tenant_id, 'wa_id', right(contact_id::text, 1), '5511987654321', contact_id, now() FROM contact "
    "WHERE locale = 'pt'"
)
ANOTHER_THRESHOLD = 'UPDATE tenant SET settings = settings || \'{"policy": {"threshold": 0.123}}\''
WAITING = "00000000-0000-4000-8000-000000000003"
A_PHRASE_WAITS = (
    "INSERT INTO training_phrase (tenant_id, phrase_id, intent, text, locale, folded, added_at, added_by) "
    f"SELECT tenant_id, '{WAITING}', 'out_of_scope', 'sing a song', 'en', 'sing', now(), 'Ada' FROM tenant "
    "ON CONFLICT DO NOTHING"
)
GIVEN_UP = "UPDATE failed_job SET given_up_at = now(), ended_at = NULL, ended_how = NULL"
REPLY = {"shortcut": "changed", "title": "Changed", "body": "Hello {{contact.name}}"}
REPLY_IS_BACK = (
    "INSERT INTO canned_reply (tenant_id, canned_reply_id, shortcut, language, title, body, changed_at, changed_by) "
    "SELECT tenant_id, object_id::uuid, 'back', '', 'Back', 'Hello', now(), 'Ada' FROM administrator_action "
    "WHERE action = 'canned_reply.deleted'"
)
FACTOR = (
    "INSERT INTO second_factor (tenant_id, user_id, secret, made_at, confirmed_at) "
    "SELECT tenant_id, user_id, 'x', now(), now() FROM user_account WHERE role = 'developer'"
)

AN_AGENT = "UPDATE user_account SET role = 'agent' WHERE role = 'developer'"
TIMES = {
    "cap": "3", "target": "2", "target_unit": "minutes", "unattended": "1", "unattended_unit": "hours", "idle": "1",
    "idle_unit": "days", "absent": "0", "absent_unit": "minutes", "phone_app_silence": "1",
    "phone_app_silence_unit": "hours",
}  # fmt: skip
HANDOFF = {
    "target_seconds": 60, "unattended_seconds": 0, "idle_seconds": 0, "absent_seconds": 0, "automatic": True, "cap": 2,
    "hours": {"time_zone": "UTC", "weekly": {}, "holidays": []}, "closed_text": {},
}  # fmt: skip

SKILLS = "/communications/skills"
HOUSE_MANIFEST = {
    "name": "house.remote", "label": "Other", "version": "2", "url": "https://skills.example.com/x",
}  # fmt: skip
KEY_IS_BACK = (
    "DELETE FROM skill_key WHERE skill = 'house.remote'; "
    "INSERT INTO skill_key (tenant_id, skill, key_id, secret, created_at) SELECT tenant_id, object_id, "
    "before->>'key_id', '', now() FROM administrator_action WHERE action = 'skill.key_removed'"
)
QUESTION = "/communications/insights/skills/questions/{group_id}"
ACTIVE = "/communications/sessions/active"
GIVEN_TO_AN_AGENT = "00000000-0000-4000-8000-000000000001"
ANOTHER_WITH_AGENT = (
    "INSERT INTO session (tenant_id, session_id, thread_id, contact_id, channel_account_id, state, state_path, "
    "outcome, contact_name, channel, channel_display, started_at, last_activity_at) SELECT tenant_id, "
    f"'{GIVEN_TO_AN_AGENT}', thread_id, contact_id, channel_account_id, 'WITH_AGENT', 'WITH_AGENT', 'TO_AGENT', 'Ada', "
    "channel, channel_display, now(), now() FROM session LIMIT 1; "
    "INSERT INTO handoff (tenant_id, session_id, escalated_at) "
    f"SELECT tenant_id, '{GIVEN_TO_AN_AGENT}', now() FROM tenant"
)
WITH_AGENT = (
    "UPDATE session SET state = 'WITH_AGENT', state_path = 'WITH_AGENT' WHERE message_count > 0 "
    f"AND session_id <> '{GIVEN_TO_AN_AGENT}'; "
    "INSERT INTO handoff (tenant_id, session_id, escalated_at) SELECT tenant_id, session_id, now() FROM session "
    "ON CONFLICT DO NOTHING"
)
ACT = {"session_id": GIVEN_TO_AN_AGENT, "reason": "Ana is ill"}

TRIGGERS, MAILS = f"{SETTINGS}/triggers", f"{SETTINGS}/email-templates"
TRIGGER_IS_BACK = (
    "INSERT INTO automation_trigger (tenant_id, name, spec, changed_at, changed_by) "
    f"SELECT tenant_id, 'tell_ops', '{json.dumps(TRIGGER)}', now(), 'Ada' FROM tenant"
)
POSTED = {**TRIGGER, "send": {"channel": "webhook", "url": "https://erp.example/"}, "to": None}
AS_A_WEBHOOK = (
    f"UPDATE automation_trigger SET spec = jsonb_strip_nulls('{json.dumps(POSTED)}'); DELETE FROM webhook_key"
)
WEBHOOK_KEY_IS_BACK = (
    "INSERT INTO webhook_key (tenant_id, trigger_name, key_id, secret, created_at) SELECT DISTINCT tenant_id, "
    "'tell_ops', before->>'key_id', ''::bytea, now() FROM administrator_action WHERE action = 'skill.key_removed'"
)
TEMPLATE_IS_BACK = "UPDATE email_template SET is_current = true WHERE version = 1"
AS_A_MAILBOX = "UPDATE channel_account SET channel = 'email' WHERE channel = 'whatsapp'"

REQUESTS: dict[tuple[str, str], TriedRequest] = {
    ("POST", f"{SETTINGS}/users"): TriedRequest({"name": "N", "email": "n@house.example", "role": "agent"}),
    ("POST", f"{SETTINGS}/users/{{user_id}}/second-factor"): TriedRequest(first=FACTOR),
    ("POST", f"{SETTINGS}/users/{{user_id}}/role"): TriedRequest({"role": "agent"}),
    ("POST", f"{SETTINGS}/users/{{user_id}}/password"): TriedRequest(),
    ("POST", f"{SETTINGS}/users/{{user_id}}/disable"): TriedRequest(),
    ("POST", f"{SETTINGS}/users/{{user_id}}/enable"): TriedRequest(),
    ("POST", f"{SETTINGS}/tokens"): TriedRequest({"name": "t", "role": "agent", "days": "3"}),
    ("POST", f"{SETTINGS}/tokens/{{token_id}}/revoke"): TriedRequest(),
    ("POST", f"{SETTINGS}/roles"): TriedRequest({"name": "late", "permission": ["audit.read"]}),
    ("POST", f"{SETTINGS}/roles/{{role}}"): TriedRequest({"permission": ["audit.read"]}),
    ("POST", f"{SETTINGS}/roles/{{role}}/delete"): TriedRequest(),
    ("POST", f"{SETTINGS}/channels"): TriedRequest(NUMBER),
    ("POST", f"{SETTINGS}/channels/{{account_id}}"): TriedRequest({**NUMBER, "name": "Other"}),
    ("POST", f"{SETTINGS}/channels/{{account_id}}/resume"): TriedRequest(first=STOPPED),
    ("POST", f"{SETTINGS}/channels/{{account_id}}/try"): TriedRequest(first=UNREACHABLE),
    ("POST", f"{SETTINGS}/channels/{{account_id}}/templates"): TriedRequest(),
    ("POST", f"{SETTINGS}/canned-replies"): TriedRequest({**REPLY, "shortcut": "by-page"}),
    ("POST", f"{SETTINGS}/canned-replies/{{canned_reply_id}}"): TriedRequest(REPLY),
    ("POST", f"{SETTINGS}/canned-replies/{{canned_reply_id}}/delete"): TriedRequest(),
    ("POST", "/api/v1/canned-replies"): TriedRequest({**REPLY, "shortcut": "by-program"}),
    ("PUT", "/api/v1/canned-replies/{canned_reply_id}"): TriedRequest(REPLY, REPLY_IS_BACK),
    ("DELETE", "/api/v1/canned-replies/{canned_reply_id}"): TriedRequest(),
    ("POST", f"{SETTINGS}/handoff/times"): TriedRequest(TIMES),
    ("POST", f"{SETTINGS}/handoff/hours"): TriedRequest({"time_zone": "Europe/Vienna", "monday": "8-12"}),
    ("POST", f"{SETTINGS}/handoff/holidays"): TriedRequest({"date": "2026-12-24", "name": "Christmas Eve"}),
    ("POST", f"{SETTINGS}/handoff/holidays/remove"): TriedRequest({"date": "2026-12-24"}),
    ("POST", f"{SETTINGS}/handoff/words"): TriedRequest({"en": "Back {{when}}."}),
    ("POST", f"{SETTINGS}/handoff/agents/{{user_id}}"): TriedRequest({"language": ["de"]}, first=AN_AGENT),
    ("PUT", "/api/v1/settings/handoff"): TriedRequest(HANDOFF),
    ("PUT", "/api/v1/agents/{user_id}"): TriedRequest({"languages": ["en"], "topics": [], "cap": 1}, first=AN_AGENT),
    ("POST", f"{SETTINGS}/redaction"): TriedRequest({"name": "own", "pattern": "Q[0-9]{9}X"}),
    ("POST", f"{SETTINGS}/redaction/remove"): TriedRequest({"name": "own"}),
    ("POST", f"{SETTINGS}/redaction/turn"): TriedRequest({"name": "card", "on": "no"}),
    ("POST", f"{SETTINGS}/failed-jobs/{{failed_job_id}}/retry"): TriedRequest(),
    ("POST", f"{SETTINGS}/failed-jobs/{{failed_job_id}}/dismiss"): TriedRequest(first=GIVEN_UP),
    ("POST", f"{SETTINGS}/sign-on"): TriedRequest(SIGN_ON),
    ("POST", f"{SETTINGS}/sign-on/remove"): TriedRequest(),
    ("POST", f"{LOGS}/{{session_id}}/hold"): TriedRequest({"reason": "a dispute"}),
    ("POST", f"{LOGS}/{{session_id}}/hold/lift"): TriedRequest(),
    ("PUT", "/api/v1/conversations/{session_id}/hold"): TriedRequest({"reason": "a dispute"}),
    ("DELETE", "/api/v1/conversations/{session_id}/hold"): TriedRequest(),
    ("POST", f"{QUESTION}/phrases"): TriedRequest({"intent": "out_of_scope", "lines": "tell me a joke"}),
    ("POST", f"{QUESTION}/reopen"): TriedRequest(),
    ("POST", "/api/v1/insights/questions/{group_id}/phrases"): TriedRequest(
        {"intent": "out_of_scope", "phrases": ["tell me a story"]}
    ),
    ("POST", "/api/v1/insights/questions/{group_id}/reopen"): TriedRequest(),
    ("PUT", "/api/v1/classifier/threshold"): TriedRequest({"refused_share": 0.9}, first=ANOTHER_THRESHOLD),
    ("POST", "/api/v1/classifier/phrases"): TriedRequest({"intent": "out_of_scope", "phrases": ["sing me a song"]}),
    ("DELETE", "/api/v1/classifier/phrases/{phrase_id}"): TriedRequest(),
    ("POST", "/api/v1/classifier/live"): TriedRequest({"version": ""}, first=A_PHRASE_WAITS),
    ("POST", f"{CLASSIFIER}/phrases/remove"): TriedRequest({"phrase_id": WAITING}, first=A_PHRASE_WAITS),
    ("POST", f"{CLASSIFIER}/live"): TriedRequest(first=A_PHRASE_WAITS),
    ("POST", f"{CLASSIFIER}/threshold"): TriedRequest({"share": "0.9"}, first=ANOTHER_THRESHOLD),
    ("POST", f"{ACTIVE}/release"): TriedRequest(ACT, ANOTHER_WITH_AGENT),
    ("POST", f"{ACTIVE}/end"): TriedRequest(ACT),
    ("POST", "/api/v1/sessions/{session_id}/release"): TriedRequest({"reason": "Ana is ill"}, WITH_AGENT),
    ("POST", "/api/v1/sessions/{session_id}/end"): TriedRequest({"reason": "a test"}),
    ("POST", f"{LOGS}/export"): TriedRequest({"format": "csv", "query": ""}),
    ("POST", "/api/v1/exports"): TriedRequest({"format": "csv"}),
    ("POST", "/communications/automation/exports/{export_id}/cancel"): TriedRequest(first=OPEN_EXPORT),
    ("DELETE", "/api/v1/exports/{export_id}"): TriedRequest(first=OPEN_EXPORT),
    ("POST", "/communications/automation/exports/{export_id}/delete"): TriedRequest(first=DONE_EXPORT),
    ("POST", f"{SKILLS}/{{name}}/test-call"): TriedRequest(),
    ("POST", "/api/v1/skills/{name}/test-call"): TriedRequest({"parameters": {}}),
    ("POST", f"{SKILLS}/{{name}}/keys/{{key_id}}/remove"): TriedRequest(),
    ("POST", f"{SKILLS}/{{name}}/keys"): TriedRequest(),
    ("DELETE", "/api/v1/skills/{name}/keys/{key_id}"): TriedRequest(first=KEY_IS_BACK),
    ("POST", "/api/v1/skills/{name}/keys"): TriedRequest(),
    ("PUT", "/api/v1/skills/{name}"): TriedRequest(HOUSE_MANIFEST),
    ("POST", f"{SKILLS}/{{name}}/retire"): TriedRequest({"reason": "nobody asks"}),
    ("POST", f"{SKILLS}/{{name}}/restore"): TriedRequest({"reason": "somebody asks"}),
    ("POST", "/api/v1/skills/{name}/retire"): TriedRequest({"reason": "nobody asks"}),
    ("POST", "/api/v1/skills/{name}/restore"): TriedRequest({"reason": "somebody asks"}),
    ("PUT", "/api/v1/triggers/{trigger_name:named}"): TriedRequest({**TRIGGER, "label": "By program"}),
    ("POST", f"{TRIGGERS}/{{trigger_name}}/yaml"): TriedRequest({"yaml": json.dumps({**TRIGGER, "label": "As YAML"})}),
    ("POST", f"{TRIGGERS}/{{trigger_name}}"): TriedRequest(TRIGGER_FORM),
    ("POST", f"{TRIGGERS}/{{trigger_name}}/turn"): TriedRequest({"on": "1"}),
    ("POST", "/api/v1/triggers/{trigger_name:named}/disable"): TriedRequest(),
    ("POST", "/api/v1/triggers/{trigger_name:named}/enable"): TriedRequest(),
    ("POST", f"{TRIGGERS}/{{trigger_name}}/keys"): TriedRequest(first=AS_A_WEBHOOK),
    ("POST", "/api/v1/triggers/{trigger_name:named}/keys"): TriedRequest(),
    ("POST", f"{TRIGGERS}/{{trigger_name}}/keys/{{key_id}}/remove"): TriedRequest(first=WEBHOOK_KEY_IS_BACK),
    ("DELETE", "/api/v1/triggers/{trigger_name:named}/keys/{key_id}"): TriedRequest(first=WEBHOOK_KEY_IS_BACK),
    ("POST", f"{TRIGGERS}/{{trigger_name}}/delete"): TriedRequest(),
    ("DELETE", "/api/v1/triggers/{trigger_name:named}"): TriedRequest(first=TRIGGER_IS_BACK),
    ("PUT", "/api/v1/mail-templates/{template_name:named}"): TriedRequest(
        {"label": "By program", "subject": "Hello", "text": "Hello"}
    ),
    ("POST", f"{MAILS}/{{template_name}}"): TriedRequest({"label": "By page", "subject": "Hello", "text": "Hello"}),
    ("POST", f"{MAILS}/{{template_name}}/restore"): TriedRequest({"version": "1"}),
    ("POST", f"{MAILS}/{{template_name}}/retire"): TriedRequest(),
    ("DELETE", "/api/v1/mail-templates/{template_name:named}"): TriedRequest(first=TEMPLATE_IS_BACK),
    ("POST", f"{SETTINGS}/channels/mailboxes"): TriedRequest(
        {"address": "page@house.example", "name": "Page", "mails_per_second": "5"}
    ),
    ("POST", "/api/v1/mailboxes"): TriedRequest({"address": "api@house.example", "name": "Program"}),
    ("PATCH", "/api/v1/mailboxes/{account_id}"): TriedRequest({"name": "Renamed"}, first=AS_A_MAILBOX),
    ("POST", f"{SETTINGS}/users/second-factor"): TriedRequest({"everybody": "yes"}),
}


def needs_record(route: Route) -> bool:
    permission = route.permission or ""
    administers = permission.startswith(("settings.", "audit.")) or permission.endswith(":admin")
    return administers and route.method not in SAFE_METHODS


def test_m4_every_route_that_changes_something_is_tried(app: FastAPI) -> None:
    found = {(route.method, route.path) for route in routes(app) if needs_record(route)}
    assert found == REQUESTS.keys() | CHANGES_NOTHING.keys()
    assert not REQUESTS.keys() & CHANGES_NOTHING.keys()


async def actions(runtime: Runtime, tenant_id: UUID) -> list[str]:
    async with runtime.database.tenant(tenant_id) as connection:
        rows = await connection.fetch("SELECT action FROM administrator_action ORDER BY at, action_id")
    return [row["action"] for row in rows]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meta finds nothing wrong, and the identity provider is there."""

    async def check(*_: object) -> Checked:
        return Checked(findings=(CheckFinding("Token", True, "It works."),))

    async def discover(*_: object) -> Provider:
        there = "https://id.example/there"
        return Provider(issuer="https://id.example", authorization_endpoint=there, token_endpoint=there, jwks_uri=there)

    async def list_templates(*_: object) -> TemplateList:
        return TemplateList(templates=())

    monkeypatch.setattr(manage_accounts, "check", check)
    monkeypatch.setattr(WhatsAppClient, "list_templates", list_templates)
    monkeypatch.setattr(identity_provider, "discover", discover)


async def with_credentials(runtime: Runtime, tenant: TenantFixture) -> None:
    sealed = runtime.keyring.encrypt(WhatsAppCredentials(token="t", app_secret="s", verify_token="v").to_bytes())
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET secrets = $1", sealed)


@pytest.mark.usefixtures("answering")
async def test_m4_every_change_by_page_and_api_is_on_record(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    parameters = await one_of_everything(runtime, tenant)
    await with_credentials(runtime, tenant)
    cookie, token = await signed_in(client, tenant), bearer(await tenant.token("administrator"))
    silent = []
    for (method, path), change in REQUESTS.items():
        if change.first:
            async with runtime.database.tenant(tenant.tenant_id) as connection:
                await connection.execute(change.first)
        before = await actions(runtime, tenant.tenant_id)
        address = Route(method, path, None).address(parameters)
        given = {"json": change.form} if path.startswith("/api/") and change.form else {"data": change.form}
        answer = await client.request(method, address, headers=token if "/api/" in path else cookie, **given)  # type: ignore[arg-type]
        if len(await actions(runtime, tenant.tenant_id)) == len(before):
            silent.append(f"{method} {path}: {answer.status_code}")
    assert silent == []


COMMANDS_THAT_CHANGE_NOTHING = {
    "tenant list", "tenant policy show", "user list", "token list", "channel list", "channel check", "skill list",
    "skill key list", "flow export", "flow list", "menu export", "menu list", "hold list", "redaction list",
    "redaction try", "classifier try", "classifier compare", "classifier evaluate",
     "jobs list", "audit verify", "audit key", "secret-key",
}  # fmt: skip
ON_ANOTHER_RECORD = {
    "serve": "a server", "web": "a server", "worker": "a server", "migrate": "alembic_version",
    "insights rebuild": "counts the record, and changes nothing in it",
    "demo": "does by the services what the commands do", "tenant delete": "the record goes with the tenant",
    "audit checkpoint": "audit_checkpoint", "retention run": "retention_run, and an event on each session",
}  # fmt: skip


def _commands(command: Any, path: str = "") -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
    else:
        for name, each in inner.items():
            yield from _commands(each, f"{path} {name}".strip())


@dataclass(frozen=True)
class _Place:
    """Where the commands are run: files to take in, and what is there to be named."""

    runtime: Runtime
    tenant: TenantFixture
    directory: Path
    names: dict[str, str]

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    async def value(self, query: str) -> str:
        async with self.runtime.database.tenant(self.tenant.tenant_id) as connection:
            return str(await connection.fetchval(query))


FLOW = """
flow: finance.statement
label: Statement
keywords: [statement]
variables:
  - {variable: since, type: date}
steps:
  - {step: since, type: prompt, variable: since, text: {en: "Since when?"}, next: balance}
  - {step: balance, type: skill, skill: a.b, next: done}
  - {step: done, type: end}
"""
POLICY = """
keep_trying_seconds: 7200
classifier: {base_url: "https://models.example/v1"}
"""
MENU = """
menu: main
text: {en: "What can I do for you?"}
nodes:
  - {node: status, type: skill, title: {en: "Status"}, skill: a.b}
"""
MANIFEST = json.dumps({"name": "a.remote", "label": "Remote", "version": "1", "url": "https://skills.example.com/x"})
WORDS = "kupfer lampe tisch wolke"
CREDENTIALS = ("--access-token", "t", "--app-secret", "s", "--verify-token", "v")


def changes(place: _Place) -> dict[str, Callable[[], Any]]:
    """Every command that changes something with its words, in an order in which each finds what it needs."""
    names = place.names
    user = "n@house.example"

    async def key_id() -> list[str]:
        async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
            return ["a.b", (await skill_keys.list_all(connection, place.tenant.tenant_id))["a.b"][0].key_id]

    async def token_id() -> list[str]:
        async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
            found = await api_tokens.list_all(connection, place.tenant.tenant_id)
        return [str(next(token.token_id for token in found if token.revoked_at is None))]

    async def after(statement: str, *words: str) -> list[str]:
        async with place.runtime.database.tenant(place.tenant.tenant_id) as connection:
            await connection.execute(statement)
        return list(words)

    factor = FACTOR.replace("role = 'developer'", f"email = '{user}'")
    sign_on = (
        "INSERT INTO single_sign_on (tenant_id, issuer, client_id, secret, claim, roles, domains, only_way) "
        "SELECT tenant_id, 'https://id.example', 'c', 'x', 'g', '[]', '{}', false FROM tenant"
    )
    return {
        "tenant retention": lambda: ["30"],
        "tenant second-factor": lambda: ["everybody"],
        "tenant policy set": lambda: [place.file("policy.yaml", POLICY)],
        "user create": lambda: [user, "N", "agent", "--password", WORDS],
        "user role": lambda: [user, "auditor"],
        "user reset-password": lambda: [user],
        "user reset-second-factor": lambda: after(factor, user),
        "user disable": lambda: [user],
        "user enable": lambda: [user],
        "token create": lambda: ["nightly"],
        "token revoke": token_id,
        "channel add": lambda: ["123456789", "+43 1 555 0100", "Service", *CREDENTIALS],
        "channel rotate-secret": lambda: ["123456789"],
        "channel resume": lambda: after(STOPPED, "123456789", "--unchecked"),
        "skill register": lambda: [place.file("skill.json", MANIFEST)],
        "skill retire": lambda: ["a.b", "--reason", "nobody asks"],
        "skill restore": lambda: ["a.b"],
        "skill key add": lambda: ["a.b"],
        "skill key remove": key_id,
        "flow import": lambda: [place.file("flow.yaml", FLOW)],
        "flow retire": lambda: ["finance.statement"],
        "flow restore": lambda: ["finance.statement"],
        "menu import": lambda: [place.file("menu.yaml", MENU)],
        "channel add-mailbox": lambda: ["cli@house.example", "Cli", "--smtp-url", ""],
        "hold add": lambda: [names["session_id"], "--reason", "a dispute"],
        "hold lift": lambda: [names["session_id"]],
        "classifier train": lambda: after(A_PHRASE_WAITS, "--put-live"),
        "classifier key add": list,
        "classifier key remove": list,
        "redaction off": lambda: ["card"],
        "redaction on": lambda: ["card"],
        "redaction add": lambda: ["own", "Q[0-9]{9}X"],
        "redaction remove": lambda: ["own"],
        "jobs retry": lambda: [names["failed_job_id"]],
        "jobs dismiss": lambda: after(GIVEN_UP, names["failed_job_id"]),
        "export": lambda: [str(place.directory / "out.csv")],
        "reseal": list,
        "tenant sign-on-off": lambda: after(sign_on),
        "tenant export": lambda: [str(place.directory / "out.zip")],
        "contact merge": lambda: after(TWO_SPELLINGS),
        "contact erase": lambda: [names["contact_id"], "--yes"],
        "tenant create": lambda: ["another", "Another"],
    }


WITHOUT_TENANT = {"reseal", "tenant export", "tenant create"}


def test_m4_every_command_that_changes_something_is_tried(runtime: Runtime, tmp_path: Path) -> None:
    known = changes(_Place(runtime, TenantFixture(runtime, "house", tenant_id=uuid4()), tmp_path, {})).keys()
    found = set(_commands(typer.main.get_command(command_line)))
    assert found == known | COMMANDS_THAT_CHANGE_NOTHING | ON_ANOTHER_RECORD.keys()


@pytest.mark.usefixtures("answering")
async def test_m4_every_change_by_command_is_on_record(
    runtime: Runtime, tenant: TenantFixture, database_urls: DatabaseURLs, tmp_path: Path
) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_OWNER_DATABASE_URL": database_urls.owner,
        "DRAGOMAN_DATA_DIR": str(tmp_path),
        "DRAGOMAN_SECRET_KEY": runtime.settings.secret_key,
    }
    names = await one_of_everything(runtime, tenant)
    await with_credentials(runtime, tenant)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        spec = SkillSpec(name="a.b", label="B", version="1")
        await skills.register(connection, tenant.tenant_id, [spec], now=runtime.clock.now())
    place = _Place(runtime, tenant, tmp_path, names)
    names["contact_id"] = await place.value("SELECT contact_id FROM contact")

    async def run(command: str, words: list[str]) -> Any:
        given = [*command.split(), *words]
        match command:
            case "tenant export":
                given.insert(2, tenant.slug)
            case _ if command not in WITHOUT_TENANT:
                given += ["--tenant", tenant.slug]
        # What is typed is only asked for by one that wants a secret.
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, given, "another-secret\n")

    silent = []
    for command, make in changes(place).items():
        made = make()
        words = await made if asyncio.iscoroutine(made) else made
        before = await actions(runtime, tenant.tenant_id)
        done = await run(command, list(words))
        if command == "tenant create":
            (other,) = await _others(runtime, tenant)
            grown = await actions(runtime, other) == ["tenant.created"]
        else:
            grown = len(await actions(runtime, tenant.tenant_id)) > len(before)
        if not grown or done.exit_code:
            silent.append(f"{command}: exit {done.exit_code}, {done.exception!r} {done.output[-200:]}")
    assert silent == []


async def _others(runtime: Runtime, tenant: TenantFixture) -> list[UUID]:
    async with runtime.database.directory() as connection:
        return [found for found in await tenants.list_ids(connection) if found != tenant.tenant_id]
