"""Message templates: the list of a business account in Meta's shape, and what sending one of them takes.

https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/overview
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from graph_standin.answers import PlannedFault

TemplateDefinition = Mapping[str, Any]
"""A template as Meta lists it: name, language, category, status, components, and whatever else.

``waba_id`` says to which business account it belongs (absent: to all), and is not listed. What is no such thing is
listed as it stands.
"""

Templates = Mapping[str, int] | Sequence[TemplateDefinition]
"""Either the definitions, or no more than the names with the number of parameters in the body."""

USUAL_PAGE = 25
MOST_ON_A_PAGE = 100

_NOT_SENT = {"PAUSED": 132015, "DISABLED": 132016}
_PARAMETER = re.compile(r"\{\{([A-Za-z0-9_]+)\}\}")


def definitions(templates: Templates | None) -> Sequence[TemplateDefinition]:
    """The definitions; made up where only names and numbers are given."""
    if templates is None:
        return ()
    if not isinstance(templates, Mapping):
        return templates
    return [
        {
            "name": name,
            "language": "en",
            "status": "APPROVED",
            "category": "UTILITY",
            "components": [{"type": "BODY", "text": " ".join(f"{{{{{n}}}}}" for n in range(1, count + 1)) or name}],
        }
        for name, count in templates.items()
    ]


def listed(templates: Templates | None, waba_id: str, query: Mapping[str, str], own_address: str) -> dict[str, Any]:
    """One page of the business account's list; a cursor that is none counts as the beginning."""
    everything = [
        {"id": str(10**15 + place), **{key: value for key, value in found.items() if key != "waba_id"}}
        if isinstance(found, Mapping)
        else found
        for place, found in enumerate(definitions(templates))
        if not isinstance(found, Mapping) or found.get("waba_id", waba_id) == waba_id
    ]
    given = query.get("limit", "")
    size = min(MOST_ON_A_PAGE, int(given)) if given.isdecimal() and int(given[:9]) > 0 else USUAL_PAGE
    begin = _place(query.get("after", ""))
    page = [_with_fields(found, query.get("fields")) for found in everything[begin : begin + size]]
    answer: dict[str, Any] = {"data": page}
    if page:
        end = begin + len(page)
        answer["paging"] = {"cursors": {"before": _cursor(begin), "after": _cursor(end)}}
        if end < len(everything):
            answer["paging"]["next"] = f"{own_address}?limit={size}&after={_cursor(end)}"
    return answer


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"at {place}".encode()).decode().rstrip("=")


def _place(cursor: str) -> int:
    try:
        return max(0, int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().removeprefix("at ")))
    except ValueError:
        return 0


def _with_fields(found: Any, fields: str | None) -> Any:
    if fields is None or not isinstance(found, Mapping):
        return found
    return {name: found[name] for name in {**dict.fromkeys(fields.split(",")), "id": None} if name in found}


def template_fault(part: Mapping[str, Any], templates: Templates, *, to_user_id: bool = False) -> PlannedFault | None:
    """What Meta says of sending *part*; None where a template of that name takes these parameters.

    *to_user_id*: it goes to a business-scoped user id, as no template with a code may.
    """
    name, code = str(part["name"]), str(part["language"]["code"])
    by_name = isinstance(templates, Mapping)
    found = next(
        (
            one
            for one in definitions(templates)
            if isinstance(one, Mapping) and one.get("name") == name and (by_name or one.get("language") == code)
        ),
        None,
    )
    if found is None:
        return PlannedFault(132001, f"template name ({name}) does not exist in {code}")
    status = str(found.get("status"))
    if status != "APPROVED":
        return PlannedFault(_NOT_SENT.get(status, 132001), f"template {name} in {code} is {status.lower()}")
    if to_user_id and str(found.get("category")).upper() == "AUTHENTICATION":
        return PlannedFault(131062, "Authentication templates cannot be sent to a business-scoped user id")
    components = _objects(part.get("components"))
    faults = (_component_fault(wanted, components) for wanted in _objects(found.get("components")))
    return next((fault for fault in faults if fault is not None), None)


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; none of what is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _component_fault(wanted: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> PlannedFault | None:
    kind = str(wanted.get("type")).lower()
    if kind == "buttons":
        faults = (_button_fault(index, button, given) for index, button in enumerate(_objects(wanted.get("buttons"))))
        return next((fault for fault in faults if fault is not None), None)
    parameters = [
        parameter
        for component in given
        if str(component.get("type")).lower() == kind
        for parameter in _objects(component.get("parameters"))
    ]
    file = str(wanted.get("format", "TEXT")).lower()
    if kind == "header" and file != "text":
        right = len(parameters) == 1 and parameters[0].get("type") == file
        return None if right else PlannedFault(132012, f"header: Format mismatch, expected {file.upper()}")
    names = list(dict.fromkeys(_PARAMETER.findall(str(wanted.get("text", "")))))
    if len(parameters) != len(names):
        return PlannedFault(
            132000, f"{kind}: number of localizable_params ({len(parameters)}) does not match ({len(names)})"
        )
    if all(name.isdecimal() for name in names):
        return None
    named = [parameter.get("parameter_name") for parameter in parameters]
    if sorted(map(str, named)) != sorted(names):
        return PlannedFault(100, f"{kind}: Parameter name is missing or empty")
    return None


def _button_fault(index: int, button: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> PlannedFault | None:
    kind = str(button.get("type")).lower()
    if kind != "copy_code" and not (kind == "url" and _PARAMETER.search(str(button.get("url", "")))):
        return None
    for component in given:
        if component.get("type") == "button" and str(component.get("index")) == str(index):
            return None if component.get("parameters") else PlannedFault(131008, f"Button at index {index} is empty")
    return PlannedFault(131008, f"Button at index {index} of type {kind} requires a parameter")
