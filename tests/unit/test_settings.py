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
