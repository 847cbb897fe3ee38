"""All that a process says while a test runs, with the product's own way of logging."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from dragoman.cli import logs


@contextlib.contextmanager
def everything_said(log_format: str, printed: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All levels of all loggers, in *log_format*, and what was *printed*: a function that gives what came so far."""
    root = logging.getLogger()
    level, handlers, raising = root.level, root.handlers[:], logging.raiseExceptions
    structured, so_far = structlog.get_config(), io.StringIO()
    logs.configure(log_format, level=logging.DEBUG, hooks=False)
    # A logger that keeps its way for good would go it in the tests after this one, too.
    structlog.configure(cache_logger_on_first_use=False)
    # Pytest exchanges what is behind standard error between a fixture and its test.
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(so_far)

    def said() -> str:
        so_far.write("".join(printed.readouterr()))
        return so_far.getvalue()

    try:
        yield said
    finally:
        root.setLevel(level)
        root.handlers[:], logging.raiseExceptions = handlers, raising
        structlog.configure(**structured)
