"""Settings that are read from the environment."""

from __future__ import annotations

import pytest

from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Settings

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
