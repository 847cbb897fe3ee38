"""Shows one skill of the registry: what it is, how it is used, what became of it, and how it is tried."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response

from dragoman.dispatch.texts import pick
from dragoman.domain.nouns import Level, Parameter, ParameterKind
from dragoman.domain.plurals import counted
from dragoman.domain.skill_differences import LEVEL_NAMES
from dragoman.domain.skill_uses import SkillUse
from dragoman.runtime import Runtime
from dragoman.services.catalogue.import_definitions import skill_to_yaml
from dragoman.services.catalogue.read_skills import SkillDetail, UseSpan
from dragoman.services.catalogue.try_skill import LONGEST_S, TriedCall, why_not
from dragoman.skills.parameter_schema import schema_of
from dragoman.skills.signing import SigningKey
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue.phrases import AddedPhrase
from dragoman.store.catalogue.skill_keys import MOST
from dragoman.web.auth import Principal
from dragoman.web.console.dispatches import ADDRESS as CALLS
from dragoman.web.console.formatting import bot_languages
from dragoman.web.console.page import render
from dragoman.web.skill_reads import skill_for

ADDRESS = "/communications/skills"
CHANGE = "communications.access:admin"

KINDS = {"python": "Python", "http": "HTTP", "built_in": "Built in"}
"""What provides a skill's code, by the list's word for it."""

KIND_SENTENCES = {
    "python": "An installed Python package",
    "http": "A server that is called over HTTP",
    "built_in": "The dispatcher itself",
}

LEVEL_SENTENCES = {
    Level.UNVERIFIED: "Anyone can use it.",
    Level.PHONE_MATCHED: "The contact’s number must match a business partner.",
    Level.CONTACT_CONFIRMED: "The contact must have confirmed their identity, for example with a one-time code.",
}

PARAMETER_KINDS = {
    ParameterKind.TEXT: "Any text",
    ParameterKind.INTEGER: "A whole number",
    ParameterKind.NUMBER: "A number",
    ParameterKind.DATE: "A date",
    ParameterKind.EMAIL: "An email address",
    ParameterKind.BOOLEAN: "Yes or no",
    ParameterKind.PATTERN: "Text matching a pattern",
    ParameterKind.CHOICE: "One of several",
    ParameterKind.LOCATION: "A location",
}


@dataclass(frozen=True, slots=True)
class ShownPhrase:
    """One training phrase; ``origin`` is where it is from, empty where the skill itself brings it."""

    text: str
    locale: str
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialForm:
    """What somebody typed for a test call, and what is wrong with it by the parameter's name."""

    values: Mapping[str, str] = field(default_factory=dict)
    written: str = ""
    locale: str = "en"
    faults: Mapping[str, str] = field(default_factory=dict)


async def show_skill(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    name: str,
    *,
    status_code: int = 200,
    mistake: str = "",
    done: str = "",
    key: SigningKey | None = None,
    form: TrialForm = TrialForm(),
    tried: TriedCall | None = None,
) -> Response:
    """Render the page of the skill called *name*. Raises NotFoundError."""
    found = await skill_for(runtime, identity, name)
    seen = identity.visibility
    failures = [replace(one, message=seen.typed(one.message)) for one in found.failures]
    return render(
        request,
        "skills/skill.html",
        status_code=status_code,
        address=ADDRESS,
        own=f"{ADDRESS}/{name}",
        found=replace(found, failures=failures),
        spec=found.spec,
        kinds=KINDS,
        kind_sentence=KIND_SENTENCES[found.kind],
        level=LEVEL_NAMES[found.spec.minimum_level],
        level_sentence=LEVEL_SENTENCES[found.spec.minimum_level],
        parameters=[_shown_parameter(parameter) for parameter in found.spec.parameters],
        parameter_schema=_written(schema_of(found.spec.parameters)),
        answer_schema=_written(found.spec.http.answer) if found.spec.http and found.spec.http.answer else "",
        phrases=by_language(_phrases(found, identity)),
        calls=calls_address,
        manifest=skill_to_yaml(found.spec) if found.spec.http else "",
        most_keys=MOST,
        consequence=consequence(found),
        may_change=identity.may(CHANGE),
        no_trial=why_not(runtime, found.spec),
        trial_seconds=min(found.spec.timeout_seconds, LONGEST_S),
        who=who,
        seen=seen,
        mistake=mistake,
        done=done,
        key=key,
        form=form,
        tried=tried,
        languages=bot_languages(),
    )


def who(by: Administrator) -> str:
    """Name whoever changed the registry, with how they were known where it was no person at the console."""
    match by.via:
        case "token":
            return f"the API token {by.name}"
        case "command line" | "system":
            return f"the {by.via}"
        case _:
            return by.name or "an unknown user"


def by_language(phrases: Iterable[ShownPhrase]) -> list[tuple[str, str, list[ShownPhrase]]]:
    """Group phrases by language, as its tag, its name and its phrases, in the order of the names."""
    ordered = sorted(phrases, key=lambda phrase: (_language(phrase.locale), phrase.locale))
    return [
        (locale, _language(locale), list(group)) for locale, group in groupby(ordered, lambda phrase: phrase.locale)
    ]


def _phrases(found: SkillDetail, identity: Principal) -> list[ShownPhrase]:
    """What the skill brings, and what administrators added, which a contact may have written."""
    return [ShownPhrase(phrase.text, phrase.locale) for phrase in found.spec.phrases] + [
        ShownPhrase(identity.visibility.typed(one.text), one.locale, _origin(one)) for one in found.phrases
    ]


def _origin(one: AddedPhrase) -> str:
    said = f"added by {one.added_by}"
    if one.waits:
        said += ", taught with the next version" if one.is_wanted else ", goes with the next version"
    return said


def calls_address(skill: str, span: UseSpan, result: str = "") -> str:
    """Where the calls are listed that a number counts."""
    asked = {"skill": skill, "result": result, "from": _moment(span.since), "to": _moment(span.until)}
    return f"{CALLS}?{urlencode({name: value for name, value in asked.items() if value})}"


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _language(locale: str) -> str:
    return bot_languages().get(locale, locale)


def _shown_parameter(parameter: Parameter) -> dict[str, Any]:
    """A parameter as a row of the table and a field of the form."""
    return {
        "name": parameter.name,
        "kind": PARAMETER_KINDS[parameter.kind],
        "required": parameter.required,
        "secret": parameter.secret,
        "pattern": parameter.pattern if parameter.kind is ParameterKind.PATTERN else "",
        "choices": [(choice, pick(parameter.titles.get(choice, {}), "en") or choice) for choice in parameter.choices],
        "yes_or_no": parameter.kind is ParameterKind.BOOLEAN,
        "is_date": parameter.kind is ParameterKind.DATE,
        "prompts": sorted(parameter.prompts.items()),
    }


def _written(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)


def consequence(found: SkillDetail) -> list[str]:
    """What retiring a skill will do, as sentences."""
    told = [
        "Contacts who ask for it will be told that it is no longer available; the outcome will be Skill Retired.",
        "Conversations currently using it will be completed.",
    ]
    named = [use for use in found.uses if not use.retired]
    if named:
        told.append(f"Still used by {_listed([_named(use) for use in named])}; these steps will fail.")
    return told


def _named(use: SkillUse) -> str:
    if use.kind == "short menu":
        return "the tenant’s short menu"
    what = (
        counted(len(use.places), "step", "steps") if use.kind == "flow" else counted(len(use.places), "node", "nodes")
    )
    return f"the {use.kind} {use.label} ({what}: {', '.join(use.places)})"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
