"""``demo`` makes a tenant with a hundred days of conversations, by the real dispatcher and the real webhook.

Nothing is inserted as a row: :mod:`~dragoman.cli.past` plays each message through the signed webhook. What stands here
is the tenant around it: users, number, business partners, skills, and the file that tells scripts how to get in.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from dragoman.cli import logs, loop, past, standin
from dragoman.cli.compose import locate_database, migrate_database, open_runtime
from dragoman.cli.past_mail import set_up_mail
from dragoman.cli.shared import err, settings_or_exit
from dragoman.domain.canned_reply import ReplyText
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import BusinessPartner, MenuItem, ParameterKind, Policy
from dragoman.domain.policies import DAYS, Budget, Holiday
from dragoman.runtime import Runtime, SystemClock
from dragoman.services.access import people
from dragoman.services.catalogue import manage_skills
from dragoman.services.catalogue.import_definitions import import_flow, import_menu
from dragoman.services.handoff import change_rules
from dragoman.services.handoff.manage_canned_replies import add_reply
from dragoman.settings import Settings
from dragoman.store import migrate, tenants
from dragoman.store.accounts import user_accounts
from dragoman.store.accounts.actions import COMMAND_LINE, Administrator
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.contacts import contacts
from dragoman.store.database import Connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.handoff import agents
from dragoman.store.handoff.agents import AgentProfile
from dragoman_shop.agents import AGENTS
from dragoman_shop.customers import BUSINESS_PARTNERS
from dragoman_shop.menu import DEFINITION, FLOWS, MENU
from dragoman_shop.registry import EARLIER_VERSION, RETIRED
from dragoman_shop.replies import CANNED_REPLIES

SLUG = "voltfair"
NAME = "Voltfair"
USERS = (
    ("admin", "administrator", "Ada Moreno"),
    ("auditor", "auditor", "Otto Brandt"),
    *((agent.login, "agent", agent.name) for agent in AGENTS),
)
TOLD = ("admin", "auditor", "agent")
"""Whose passwords are told; the others are colleagues whom one meets in the inbox."""

HANDOFF_TIMES = {
    "target_seconds": 30 * 60,
    "unattended_seconds": 10 * 60,
    "idle_seconds": 72 * 60 * 60,
    # Nobody has signed in as the demo's agents yet: what is theirs stays theirs until somebody does.
    "absent_seconds": 0,
}
"""Three days, so that what is open today is still open tomorrow, and nobody is lost over Christmas."""

BUDGET = Budget(cost_micros=5000)
"""What a session may cost: several times as much as nearly all of them do."""

WEEKDAYS, WEEKEND = ["08:00-20:00"], ["09:00-18:00"]
HOURS = {day: WEEKEND if day in ("saturday", "sunday") else WEEKDAYS for day in DAYS}
TIME_ZONE = "Europe/Vienna"
HOLIDAYS = (Holiday(month=12, day=25, name="Christmas Day"), Holiday(month=1, day=1, name="New Year's Day"))

TOKEN_DAYS = 365


@dataclass(frozen=True, slots=True)
class _Paths:
    """The file for scripts, and the mark that the past is complete."""

    access: Path
    complete: Path


def demo() -> None:
    """Create the demo tenant with its conversations and print how to log in. Later runs only print it again."""
    settings = settings_or_exit()
    logs.configure(settings.log_format, level=logging.WARNING)
    paths = _Paths(settings.data_directory / "demo.json", settings.data_directory / "demo.complete")
    if not paths.complete.exists():
        if paths.access.exists():
            raise ConfigurationError(
                f"an earlier `dragoman demo` was interrupted; remove {settings.data_directory} and run it again"
            )
        err.print("Starting the database")
        urls = locate_database(settings)
        loop.run(_make(settings, urls, paths))
        paths.complete.touch()
    access = json.loads(paths.access.read_text()) | {"base_url": settings.base_url}
    access["standin"]["url"] = f"{settings.base_url}{standin.PATH}"
    _write(paths.access, access)
    _tell(access, settings)


def _write(path: Path, access: dict[str, Any]) -> None:
    """Replace the file for scripts, readable by this user only; who reads it meanwhile finds all of it."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(access, indent=1))
    new.replace(path)


async def _make(settings: Settings, urls: DatabaseURLs, paths: _Paths) -> None:
    await migrate_database(urls)
    now = SystemClock().now()
    await _make_partitions(urls, now)
    playing = standin.make()
    standin.save(settings, playing)
    settings = standin.point_at(settings, playing)
    async with open_runtime(settings, urls) as runtime:
        tenant_id, access = await _furnish(runtime, playing, now - timedelta(days=past.DAYS))
    _write(paths.access, access)
    await past.play(settings, urls, tenant_id, playing, until=now)


async def _make_partitions(urls: DatabaseURLs, now: datetime) -> None:
    connection = await asyncpg.connect(urls.owner)
    try:
        await migrate.ensure_partitions(connection, now.date() - timedelta(days=past.DAYS + 1), now.date())
    finally:
        await connection.close()


async def _furnish(
    runtime: Runtime, playing: standin.StandinCredentials, opened: datetime
) -> tuple[UUID, dict[str, Any]]:
    """The tenant with all that is set up by hand elsewhere; its id, and what ``demo.json`` says."""
    tenant_id = runtime.source.new_id()
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.create_tenant(connection, tenant_id, slug=SLUG, name=NAME, now=opened)
        credentials = WhatsAppCredentials(
            token=playing.token, app_secret=playing.app_secret, verify_token=playing.verify_token
        )
        numbers = (
            (playing.phone_number_id, standin.DISPLAY_PHONE_NUMBER, f"{NAME} service"),
            (playing.trade_phone_number_id, standin.TRADE_DISPLAY_PHONE_NUMBER, f"{NAME} trade"),
        )
        for phone_number_id, display, name in numbers:
            account = ChannelAccount(
                channel_account_id=runtime.source.new_id(),
                channel="whatsapp",
                address=phone_number_id,
                display=display,
                name=name,
                secrets=runtime.keyring.encrypt(credentials.to_bytes()),
            )
            await channel_accounts.add(connection, tenant_id, account, waba_id=playing.waba_id, now=opened)
        for partner in BUSINESS_PARTNERS:
            record = BusinessPartner(
                business_partner_id=runtime.source.new_id(), number=partner.number, name=partner.name
            )
            await contacts.add_business_partner(connection, tenant_id, record, partner.phones, now=opened)
        await _register_skills(runtime, connection, tenant_id, opened)
        menu = tuple(MenuItem(skill=name, titles=titles) for name, titles in MENU.items())
        await skills.set_policy(connection, tenant_id, Policy(menu=menu, budget=BUDGET))
    users = await _add_users(runtime, tenant_id, opened)
    await _retire_skills(runtime, tenant_id, opened + timedelta(days=past.DAYS // 2))
    token = await people.make_token(
        runtime, tenant_id, COMMAND_LINE, name="demo", role="administrator", days=TOKEN_DAYS
    )
    for path in FLOWS:
        await import_flow(runtime, tenant_id, path.read_text(encoding="utf-8"), at=opened)
    await import_menu(runtime, tenant_id, DEFINITION.read_text(encoding="utf-8"), as_default=True, at=opened)
    await _set_up_handoff(runtime, tenant_id)
    await set_up_mail(runtime, tenant_id, standin.mail_server(playing), standin.order_system(playing))
    access = {
        "base_url": runtime.settings.base_url,
        "tenant": SLUG,
        "users": users,
        "api_token": token,
        "whatsapp": {
            "phone_number_id": playing.phone_number_id,
            "display_phone_number": standin.DISPLAY_PHONE_NUMBER,
            "app_secret": playing.app_secret,
            "verify_token": playing.verify_token,
        },
        "standin": {
            "url": f"{runtime.settings.base_url}{standin.PATH}",
            "control_token": playing.control_token,
        },
    }
    return tenant_id, access


async def _register_skills(runtime: Runtime, connection: Connection, tenant_id: UUID, opened: datetime) -> None:
    """Register what is installed, after the earlier version of one of them."""
    specs = await runtime.skills.specs()
    name, version = EARLIER_VERSION
    now = next(spec for spec in specs if spec.name == name)
    earlier = dataclasses.replace(
        now,
        version=version,
        timeout_seconds=5.0,
        parameters=tuple(
            dataclasses.replace(parameter, kind=ParameterKind.TEXT, pattern=None) for parameter in now.parameters
        ),
        phrases=now.phrases[::2],
    )
    before = opened - timedelta(days=30)
    await skills.register(connection, tenant_id, [earlier], now=before, by=COMMAND_LINE)
    await skills.register(connection, tenant_id, specs, now=opened, by=COMMAND_LINE)


async def _retire_skills(runtime: Runtime, tenant_id: UUID, at: datetime) -> None:
    """Retire what Voltfair no longer offers, as the administrator does it."""
    async with runtime.database.tenant(tenant_id) as connection:
        everybody = await user_accounts.list_all(connection, tenant_id)
    admin = next(user for user in everybody if user.role == "administrator")
    for name, reason in RETIRED.items():
        by = Administrator(admin.name, admin.user_id)
        await manage_skills.retire_skill(runtime, tenant_id, name, by, reason=reason, at=at)


async def _add_users(runtime: Runtime, tenant_id: UUID, opened: datetime) -> dict[str, dict[str, str]]:
    """Add the users by the rule for everybody's; addresses and passwords by their short names."""
    users: dict[str, dict[str, str]] = {}
    for login, role, name in USERS:
        keys = {"email": f"{login}@{SLUG}.example", "password": people.made_up_password()}
        await people.add_user(runtime, tenant_id, COMMAND_LINE, name=name, role=role, at=opened, **keys)
        if login in TOLD:
            users[login] = keys
    return users


async def _set_up_handoff(runtime: Runtime, tenant_id: UUID) -> None:
    """What *Settings → Handoff* and *Canned replies* have: the times, the hours, the agents' languages, ready words."""
    await change_rules.change_times(runtime, tenant_id, COMMAND_LINE, HANDOFF_TIMES)
    await change_rules.change_hours(runtime, tenant_id, COMMAND_LINE, time_zone=TIME_ZONE, weekly=HOURS)
    for holiday in HOLIDAYS:
        await change_rules.add_holiday(runtime, tenant_id, COMMAND_LINE, holiday)
    async with runtime.database.tenant(tenant_id) as connection:
        team = {member.name: member.user_id for member in await agents.list_all(connection, tenant_id)}
    for agent in AGENTS:
        profile = AgentProfile(languages=agent.languages)
        await change_rules.change_agent(runtime, tenant_id, COMMAND_LINE, team[agent.name], profile)
    for shortcut, language, title, body in CANNED_REPLIES:
        reply = ReplyText(shortcut=shortcut, language=language, title=title, body=body)
        await add_reply(runtime, tenant_id, reply, COMMAND_LINE)


def _tell(access: dict[str, Any], settings: Settings) -> None:
    err.print(f"\n  Dragoman's demo is at [bold]{settings.base_url}[/bold]\n")
    for login, user in access["users"].items():
        err.print(f"  {login:<9}{user['email']}   {user['password']}", markup=False)
    err.print(f"\n  Scripts find the same in {settings.data_directory / 'demo.json'}\n", markup=False)
