"""What the stand-in was told to do differently: refuse, delay, hang up, or report other statuses.

A rule is a JSON object::

    {"match": {"to": "43…", "phone_number_id": "…", "type": "text", "text": "part of the body"},
     "times": 2,                        how many messages it applies to; null for all, 1 if absent
     "delay_seconds": 3,                answer late; the message is taken before the wait
     "error": 131000,                   refuse with this code, and "message", "http_status" as wanted
     "http_status": 500, "raw": "…",    answer this text with this status; the message is not taken
     "drop_connection": true,           take the message and hang up ("before": hang up without taking it)
     "statuses": ["sent", "failed"],    send these back instead, in this order, doubled ones too; with "status_error"
     "early": true}                     send the statuses first, and answer after them

The first rule that matches is used, and counts down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

STATUSES = ("sent", "delivered", "read", "played", "failed", "deleted", "warning")


class RuleError(Exception):
    """A rule that cannot be followed; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRule:
    """One rule; the fields are those of its JSON form."""

    match: dict[str, str]
    times: int | None = 1
    delay_seconds: float = 0.0
    error: int | None = None
    message: str | None = None
    http_status: int | None = None
    raw: str | None = None
    drop_connection: bool | str = False
    statuses: tuple[str, ...] | None = None
    status_error: int = 131026
    early: bool = False

    def applies(self, phone_number_id: str, body: dict[str, Any]) -> bool:
        """Whether the rule is meant for this call."""
        said = str(body.get("text", ""))
        seen = {
            "to": str(body.get("to") or body.get("recipient") or ""),
            "phone_number_id": phone_number_id,
            "type": str(body.get("type", "text")),
        }
        return all(wanted in said if key == "text" else seen[key] == wanted for key, wanted in self.match.items())


_FIELDS: dict[str, tuple[type, ...]] = {
    "match": (dict,),
    "times": (int, type(None)),
    "delay_seconds": (int, float),
    "error": (int,),
    "message": (str,),
    "http_status": (int,),
    "raw": (str,),
    "drop_connection": (bool, str),
    "statuses": (list,),
    "status_error": (int,),
    "early": (bool,),
}


def read_rule(value: Any) -> AnswerRule:
    """Read a rule from its JSON form. Raises RuleError for what is none."""
    if not isinstance(value, dict):
        raise RuleError("a rule is a JSON object")
    for key, item in value.items():
        if key not in _FIELDS:
            raise RuleError(f"a rule has no field {key!r}")
        if not isinstance(item, _FIELDS[key]):
            raise RuleError(f"{key} cannot be {item!r}")
    match = value.get("match", {})
    if wrong := set(match) - {"to", "phone_number_id", "type", "text"}:
        raise RuleError(f"nothing can be matched by {', '.join(sorted(wrong))}")
    if value.get("drop_connection") not in {None, False, True, "before", "after"}:
        raise RuleError("drop_connection is true, false, before or after")
    fields = {**value, "match": {key: str(item) for key, item in match.items()}}
    if "statuses" in value:
        if wrong := set(map(str, value["statuses"])) - set(STATUSES):
            raise RuleError(f"there is no status {', '.join(sorted(wrong))}")
        fields["statuses"] = tuple(value["statuses"])
    return AnswerRule(**fields)


class Rules:
    """Holds the rules in force, in order."""

    def __init__(self) -> None:
        self.rules: list[AnswerRule] = []

    def match(self, phone_number_id: str, body: dict[str, Any]) -> AnswerRule | None:
        """The rule for this call, counted down; None if there is none."""
        for index, rule in enumerate(self.rules):
            if rule.applies(phone_number_id, body):
                if rule.times is not None:
                    left = replace(rule, times=rule.times - 1)
                    self.rules[index : index + 1] = [left] if left.times else []
                return rule
        return None
