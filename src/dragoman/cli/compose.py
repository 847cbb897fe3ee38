"""Puts a :class:`~dragoman.runtime.Runtime` together out of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import httpx

from dragoman.channels.email.smtp import Smtp
from dragoman.channels.email.transport import SmtpTransport
from dragoman.classify.provider import Classifiers
from dragoman.domain.errors import ConfigurationError
from dragoman.jobs.queue import PgQueue
from dragoman.rendering.renderer import TemplateRenderer
from dragoman.runtime import Clock, Keyring, Queue, ReceivedMails, Runtime, SystemClock, TimeOrderedIds
from dragoman.services.outbound.deliver import SEND_SECONDS
from dragoman.settings import Settings
from dragoman.skills.hosts.host_process import HostPlan
from dragoman.skills.hosts.hosting import HostedSkills
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import InProcessSkills, SkillInvoker
from dragoman.skills.registry import load_entry_points
from dragoman.store import embedded, migrate
from dragoman.store.blobs import open_blobs
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs

PARTITIONS_AHEAD = timedelta(weeks=4)


def locate_database(settings: Settings) -> DatabaseURLs:
    """Find the operator's own database, or start or join the embedded one."""
    urls = settings.database_urls()
    if urls is not None:
        return urls
    _, urls = embedded.start(settings.data_directory)
    return urls


async def migrate_database(urls: DatabaseURLs) -> None:
    """Bring roles, schema and partitions up to date. Raises ConfigurationError with one line to read."""
    try:
        await migrate.create_roles(urls)
        await asyncio.to_thread(migrate.upgrade, urls)
        connection = await asyncpg.connect(urls.owner)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"the database login may not do this ({error}); run CREATE ROLE dragoman_app NOLOGIN as an "
            "administrator and grant it to the login"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"the database cannot be reached: {error}") from error
    try:
        today = SystemClock().now().date()
        await migrate.ensure_partitions(connection, today, today + PARTITIONS_AHEAD)
    finally:
        await connection.close()


def host_plan(settings: Settings) -> HostPlan:
    """How skill hosts are started."""
    return HostPlan(memory_mb=settings.skill_memory_mb, log_output=settings.skill_output == "logged")


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    urls: DatabaseURLs,
    *,
    clock: Clock | None = None,
    queue: Queue | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    skills: SkillInvoker | None = None,
    received_mails: ReceivedMails | None = None,
) -> AsyncIterator[Runtime]:
    """A runtime for as long as the block runs; *clock*, *queue* and so on replace the real ones.

    Skill hosts are started when a skill is called and stopped at the end of the block.
    """
    clock = clock or SystemClock()
    mailer = Smtp.from_url(settings.smtp_url, base_url=settings.base_url) if settings.smtp_url else None
    blobs = open_blobs(settings.media_url, settings.data_directory)
    hosted = HostedSkills(clock.now, hosts=max(1, settings.skill_hosts), plan=host_plan(settings))
    if skills is None and settings.skill_hosts == 0:
        skills = InProcessSkills(load_entry_points(), clock.now)
    database = await Database.connect(urls.application, maximum=settings.pool_size)
    http = httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(SEND_SECONDS, connect=5.0),
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=50),
        follow_redirects=False,
        trust_env=False,
    )
    http_skills = HttpSkills(settings.http_skill_private)
    mail, mail_templates = SmtpTransport(), TemplateRenderer()
    try:
        yield Runtime(
            settings=settings,
            database=database,
            clock=clock,
            source=TimeOrderedIds(clock),
            http=http,
            queue=queue or PgQueue(),
            keyring=Keyring(settings.secret_key, earlier=settings.earlier_secret_key),
            classifiers=Classifiers(http_skills),
            skills=skills or hosted,
            blobs=blobs,
            http_skills=http_skills,
            mailer=mailer,
            mail=mail,
            mail_templates=mail_templates,
            received_mails=received_mails,
            sleep=sleep,
        )
    finally:
        await mail.close()
        await mail_templates.close()
        await hosted.close()
        await http_skills.aclose()
        await http.aclose()
        await database.close()
