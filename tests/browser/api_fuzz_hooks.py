"""What schemathesis is told beside the OpenAPI document; it loads this in a process of its own."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Leave out a cursor that was made up: a list takes only those that it gave out, which no pattern can say."""
    if case.meta is not None and case.meta.generation.mode.is_positive and case.query:
        case.query.pop("cursor", None)
