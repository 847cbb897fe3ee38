"""How an installation is set up: the settings, read from the environment by pydantic-settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cryptography.fernet import Fernet
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from dragoman.domain.errors import ConfigurationError
from dragoman.skills.addresses import AllowList
from dragoman.store.embedded import DatabaseURLs

META_GRAPH_URL = "https://graph.facebook.com"
PREFIX = "DRAGOMAN_"

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound

Url = Annotated[str, BeforeValidator(lambda url: url.rstrip("/"))]
Count = Annotated[int, Field(ge=1)]
Duration = Annotated[float, Field(ge=0.05, allow_inf_nan=False)]
Secret = Annotated[str | None, Field(repr=False)]
Hosts = Annotated[
    AllowList, NoDecode, BeforeValidator(lambda given: AllowList.parse(given) if isinstance(given, str) else given)
]


def _names(given: object) -> object:
    return tuple(part.strip().lower() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for one in given:
        try:
            ip_network(one)
        except ValueError:
            raise ConfigurationError(
                f"DRAGOMAN_TRUSTED_PROXIES: {one!r} is neither an address nor a network; "
                "use for example 10.0.0.5, 10.1.0.0/16"
            ) from None
    return given


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Networks = Annotated[Names, AfterValidator(_networks)]


def _secret_key(given: dict[str, Any]) -> str:
    """Read the key that is kept beside the data; it is made where there is none."""
    path: Path = given["data_directory"] / "secret.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(Fernet.generate_key().decode())
    return path.read_text().strip()


def _base_url(given: dict[str, Any]) -> str:
    host = "127.0.0.1" if given["host"] in _ANY_ADDRESS else given["host"]
    return f"http://{host}:{given['port']}"


class Settings(BaseSettings):
    """How this installation is set up; the contract lists the variables that they are read from.

    ``secret_key`` encrypts channel credentials: 32 random bytes, URL-safe base64; what ``earlier_secret_key`` has
    encrypted can still be read. ``standin_token`` opens the controls of the stand-in for Meta's side, where
    ``graph_url`` is one. ``http_skill_private`` lists the private hosts and networks that skills behind HTTP may be
    called at. ``pool_size`` is how many connections to PostgreSQL this process opens at most (a worker has one more,
    for its queue). ``skill_hosts`` is how many processes run Python skills for a worker (0: they run inside the
    worker, for debugging), ``skill_memory_mb`` what each may use of memory (0: all there is). ``skill_output``: whether
    what they print is logged, though it may be what contacts wrote. ``media_url`` is where
    media are stored (None: a directory beside the data), ``checkpoint_url`` where checkpoints are written outside the
    database; ``checkpoint_minutes`` lie between two at the least; ``checkpoint_key`` signs them (32 random bytes,
    URL-safe base64; None: made once and kept beside the data). ``smtp_url`` is the mail server that the
    installation's own mail goes through (None: none is sent), and that of mailboxes which have none of their own.

    ``lmtp_port`` is where the mail server in front of us hands over the mails of mailboxes (None: none are received),
    at the address ``lmtp_host``. LMTP has no logins: who reaches the port can write to every mailbox. It belongs behind
    a mail server, on an address that only that one reaches.

    ``other_hosts`` lists the host names beside that of ``base_url`` under which pages are served, ``trusted_proxies``
    the addresses and networks of proxies whose ``X-Forwarded-For`` is believed. ``metrics_token`` opens ``/metrics``
    and the details of ``/readyz`` (None: they open to this machine alone). A request's head has
    ``head_timeout_seconds`` to arrive. Its body is given ``body_grace_seconds``, after which it must have come at
    ``body_least_rate`` bytes a second on average, and ``body_timeout_seconds`` in all. All bodies together hold at most
    ``body_memory_mb``. At most ``max_connections`` are open, ``max_connections_per_client`` of them from one address;
    this machine and trusted proxies are not counted as clients.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, populate_by_name=True)

    data_directory: Annotated[Path, AfterValidator(Path.resolve)] = Field(
        Path("var"), validation_alias=f"{PREFIX}DATA_DIR", validate_default=True
    )
    secret_key: str = Field(default_factory=_secret_key, repr=False)
    earlier_secret_key: Secret = None
    host: str = "127.0.0.1"
    port: Count = 8000
    base_url: Url = Field(default_factory=_base_url)
    database_url: Secret = None
    owner_database_url: Secret = None
    graph_url: Url = META_GRAPH_URL
    standin_token: Secret = None
    log_format: Literal["text", "json"] = "text"
    retention_days: Count = 90
    lease_seconds: float = Field(15.0, ge=1, allow_inf_nan=False)
    webhook_body_limit: Count = 4 * 1024 * 1024
    pool_size: int = Field(16, ge=4)
    skill_hosts: int = Field(2, ge=0)
    skill_memory_mb: int = Field(1024, ge=0)
    skill_output: Literal["withheld", "logged"] = "withheld"
    http_skill_private: Hosts = AllowList()
    media_url: str | None = None
    checkpoint_url: str | None = None
    checkpoint_minutes: Count = 60
    checkpoint_key: Secret = None
    smtp_url: Secret = None
    lmtp_host: str = "127.0.0.1"
    lmtp_port: int | None = Field(None, ge=1)
    other_hosts: Names = ()
    trusted_proxies: Networks = ()
    metrics_token: Secret = None
    head_timeout_seconds: Duration = 10.0
    body_timeout_seconds: Duration = 60.0
    body_grace_seconds: Duration = 10.0
    body_least_rate: Count = 16 * 1024
    body_memory_mb: Count = 8
    max_connections: Count = 4096
    max_connections_per_client: Count = 256

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else: only :meth:`from_environment` looks around."""
        return (init_settings,)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; raises ConfigurationError, with what to do, where one cannot be used."""
        source = EnvSettingsSource(cls)
        # An empty variable is the same as none.
        source.env_vars = {name.lower(): value for name, value in environment.items() if value}
        try:
            return cls(**source())
        except ValidationError as error:
            raise ConfigurationError(_sentence(error.errors()[0])) from None

    @property
    def graph_url_given(self) -> bool:
        """Say whether the operator named the Graph API's address."""
        return "graph_url" in self.model_fields_set

    def database_urls(self) -> DatabaseURLs | None:
        """Give the two addresses of a database of the operator's own; None for the embedded one."""
        if self.database_url is None:
            return None
        return DatabaseURLs(self.database_url, self.owner_database_url or self.database_url)


def _sentence(error: ErrorDetails) -> str:
    """Say what is wrong with one variable and what would be right."""
    name = str(error["loc"][0]).removeprefix(PREFIX).lower()
    field = Settings.model_fields[name]
    least = next((part.ge for part in field.metadata if hasattr(part, "ge")), None)
    if least is None:
        wanted = " or ".join(get_args(field.annotation))
    else:
        wanted = f"a {'whole ' if isinstance(least, int) else ''}number, {least} or more"
    return f"{PREFIX}{name.upper()} is {error['input']!r}; use {wanted}"
