"""What may be said of an exception: its class and the places it went through, and nothing of what was being handled.

Messages of exceptions quote: rows, inputs, keys, addresses with tokens. One is told only where it is a literal of the
code that raised it. Decision page 0042.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from types import CodeType, TracebackType

LONGEST_MESSAGE = 500
MOST_PLACES = 12
MOST_CAUSES = 4

_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>]{0,99}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def describe(error: BaseException) -> str:
    """Say what *error* is and where it came from, with its causes, and nothing of what was being handled."""
    return "; because of ".join(_described(one) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting and len(seen) <= MOST_CAUSES:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions[:MOST_CAUSES]
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if cause is not None:
            waiting.append(cause)


def _described(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    frames = list(_frames(error.__traceback__))
    parts = [name if _CLASS.fullmatch(name) else "an exception", *_facts(error)]
    if frames and (message := _literal_message(error, frames[-1][0])):
        parts.append(f"({message})")
    places = [place for _, place in reversed(frames)]
    if len(places) > MOST_PLACES:
        places = [*places[: MOST_PLACES - 1], "…"]
    return " ".join(parts) + (" at " + " < ".join(places) if places else "")


def _facts(error: BaseException) -> Iterator[str]:
    """What of an exception is of the system's own vocabulary: SQL states, names of the schema, numbers of errors."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str) and re.fullmatch(r"[0-9A-Z]{5}", state):
        yield state
    for name in ("table_name", "constraint_name"):
        value = getattr(error, name, None)
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
            yield value
    if isinstance(error, OSError) and error.errno is not None:
        yield errno.errorcode.get(error.errno, str(error.errno))
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        yield str(status)


def _frames(traceback: TracebackType | None) -> Iterator[tuple[CodeType, str]]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = str(traceback.tb_frame.f_globals.get("__name__", "?"))
        yield code, f"{module}:{code.co_qualname}:{traceback.tb_lineno}"
        traceback = traceback.tb_next


def _literal_message(error: BaseException, code: CodeType) -> str | None:
    """The message, where it stands word for word in the code that raised *error*: then nobody else wrote it."""
    given = error.args[0] if len(error.args) == 1 else None
    return given if type(given) is str and len(given) <= LONGEST_MESSAGE and given in code.co_consts else None
