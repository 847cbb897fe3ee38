"""Settings that are read from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman.domain.errors import ConfigurationError
from dragoman.settings import Settings

KEY = {"DRAGOMAN_SECRET_KEY": "x", "DRAGOMAN_DATA_DIR": "var"}


def test_how_many_connections_a_process_opens() -> None:
    assert Settings.from_environment(KEY).pool_size == 16
    assert Settings.from_environment({**KEY, "DRAGOMAN_POOL_SIZE": "8"}).pool_size == 8


@pytest.mark.parametrize("size", ["3", "0", "-1", "many"])
def test_too_few_connections_to_work_with_are_refused(size: str) -> None:
    with pytest.raises(ConfigurationError, match=f"DRAGOMAN_POOL_SIZE is '{size}'; use a whole number, 4 or more"):
        Settings.from_environment({**KEY, "DRAGOMAN_POOL_SIZE": size})


def test_settings_that_are_printed_show_no_secret() -> None:
    secrets = (
        "DRAGOMAN_SECRET_KEY", "DRAGOMAN_EARLIER_SECRET_KEY", "DRAGOMAN_DATABASE_URL", "DRAGOMAN_OWNER_DATABASE_URL",
        "DRAGOMAN_STANDIN_TOKEN", "DRAGOMAN_CHECKPOINT_KEY", "DRAGOMAN_SMTP_URL",
    )  # fmt: skip
    settings = Settings.from_environment({**KEY, **dict.fromkeys(secrets, "s3cr3t")})
    assert settings.smtp_url == "s3cr3t"
    assert "s3cr3t" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "many", "DRAGOMAN_PORT is 'many'; use a whole number, 1 or more"),
        ("LMTP_PORT", "many", "DRAGOMAN_LMTP_PORT is 'many'; use a whole number, 1 or more"),
        ("LMTP_PORT", "0", "DRAGOMAN_LMTP_PORT is '0'; use a whole number, 1 or more"),
        ("LEASE_SECONDS", "inf", "DRAGOMAN_LEASE_SECONDS is 'inf'; use a whole number, 1 or more"),
        ("WEBHOOK_BODY_LIMIT", "-5", "DRAGOMAN_WEBHOOK_BODY_LIMIT is '-5'; use a whole number, 1 or more"),
        ("LEASE_SECONDS", "0", "DRAGOMAN_LEASE_SECONDS is '0'; use a whole number, 1 or more"),
        ("SKILL_HOSTS", "-1", "DRAGOMAN_SKILL_HOSTS is '-1'; use a whole number, 0 or more"),
        ("LOG_FORMAT", "xml", "DRAGOMAN_LOG_FORMAT is 'xml'; use text or json"),
        ("HTTP_SKILL_PRIVATE", "a b", "'a b' is neither a host name nor a network"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_could(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({**KEY, f"DRAGOMAN_{name}": value})
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


def test_mails_are_received_where_a_port_is_named() -> None:
    assert (Settings.from_environment(KEY).lmtp_port, Settings.from_environment(KEY).lmtp_host) == (None, "127.0.0.1")
    settings = Settings.from_environment({**KEY, "DRAGOMAN_LMTP_PORT": "2400", "DRAGOMAN_LMTP_HOST": "10.0.0.5"})
    assert (settings.lmtp_port, settings.lmtp_host) == (2400, "10.0.0.5")


def test_what_is_derived_and_what_an_empty_variable_means() -> None:
    given = {**KEY, "DRAGOMAN_HOST": "0.0.0.0", "DRAGOMAN_PORT": "9000", "DRAGOMAN_DATABASE_URL": ""}
    settings = Settings.from_environment(given)
    assert (settings.base_url, settings.database_url) == ("http://127.0.0.1:9000", None)
    assert settings.data_directory.is_absolute()
    assert not settings.graph_url_given
    named = Settings.from_environment({**KEY, "DRAGOMAN_GRAPH_URL": "http://meta/", "DRAGOMAN_BASE_URL": "https://d/"})
    assert (named.graph_url, named.graph_url_given, named.base_url) == ("http://meta", True, "https://d")


def test_settings_of_a_program_do_not_look_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRAGOMAN_PORT", "9999")
    assert Settings(data_directory=tmp_path, secret_key="x").port == 8000


def test_a_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    place = {"DRAGOMAN_DATA_DIR": str(tmp_path / "data")}
    key = Settings.from_environment(place).secret_key
    assert Settings.from_environment(place).secret_key == key
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600
