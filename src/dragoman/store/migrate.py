"""Roles, database and schema: brings any installation to the schema of this version."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from dragoman.domain.errors import ConfigurationError
from dragoman.store.database import Connection
from dragoman.store.embedded import DatabaseURLs


def scripts() -> Path:
    """Where the migrations are: beside the package in a wheel, at the top of a checkout."""
    packaged = Path(__file__).resolve().parents[1] / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "migrations"


def head() -> str:
    """The revision that this version of the code needs."""
    revision = ScriptDirectory(str(scripts())).get_current_head()
    if revision is None:
        raise ConfigurationError(f"no migrations in {scripts()}")
    return revision


async def create_roles(urls: DatabaseURLs) -> None:
    """Make the two roles, and the database where we run the server ourselves. Harmless when repeated.

    Raises asyncpg.InsufficientPrivilegeError where the login may not create roles: an administrator then runs
    ``CREATE ROLE dragoman_app NOLOGIN`` and grants it to the login once.
    """
    connection = await asyncpg.connect(urls.superuser or urls.owner)
    try:
        roles = ("dragoman_owner", "dragoman_app") if urls.superuser else ("dragoman_app",)
        login = "LOGIN" if urls.superuser else "NOLOGIN"
        for role in roles:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} {login} NOSUPERUSER NOBYPASSRLS")
        if not urls.superuser:
            await _let_in(connection, urlsplit(urls.application).username)
            return
        database = urlsplit(urls.owner).path.lstrip("/")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await connection.execute(
                f'CREATE DATABASE "{database}" OWNER dragoman_owner '
                "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
            )
    finally:
        await connection.close()


async def _let_in(connection: Connection, login: str | None) -> None:
    """Let the application's login take the application's role; without a name in the URL it is the one we have."""
    member = await connection.fetchval(
        "SELECT pg_has_role(coalesce($1, current_user), 'dragoman_app', 'member')", login
    )
    if not member:
        name = "current_user" if login is None else '"' + login.replace('"', '""') + '"'
        await connection.execute(f"GRANT dragoman_app TO {name}")


def upgrade(urls: DatabaseURLs, revision: str = "head") -> None:
    """Run the migrations as the owner, up to *revision*. Synchronous: Alembic is."""
    command.upgrade(_config(urls), revision)


def downgrade(urls: DatabaseURLs, revision: str) -> None:
    """Run the migrations backwards, down to *revision*; the data of what is dropped is gone."""
    command.downgrade(_config(urls), revision)


def _config(urls: DatabaseURLs) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()))
    config.attributes["url"] = sqlalchemy_url(urls.owner)
    return config


def sqlalchemy_url(url: str) -> str:
    """The same address for SQLAlchemy's psycopg dialect, which takes socket directories unquoted."""
    return unquote(url).replace("postgresql://", "postgresql+psycopg://", 1)


async def ensure_partitions(connection: Connection, first: date, last: date) -> int:
    """Make the weekly partitions from *first* to *last* that do not exist yet; returns how many were made."""
    made: int = await connection.fetchval("SELECT ensure_partitions($1, $2)", first, last)
    return made
