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
from dragoman.domain.outcomes import Outcome
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
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n
from dragoman.web.auth import Principal
from dragoman.web.console import wording
from dragoman.web.console.dispatches import ADDRESS as CALLS
from dragoman.web.console.formatting import bot_languages
from dragoman.web.console.page import render
from dragoman.web.skill_reads import skill_for

ADDRESS = "/communications/skills"
CHANGE = "communications.access:admin"

KINDS = {"python": "Python", "http": "HTTP", "built_in": deferred("Built in")}
"""What provides a skill's code, by the list's word for it."""

KIND_SENTENCES = {
    "python": deferred("An installed Python package"),
    "http": deferred("A server that is called over HTTP"),
    "built_in": deferred("The dispatcher itself"),
}

LEVEL_SENTENCES = {
    Level.UNVERIFIED: deferred("Anyone can use it."),
    Level.PHONE_MATCHED: deferred("The contact’s number must match a business partner."),
    Level.CONTACT_CONFIRMED: deferred(
        "The contact must have confirmed their identity, for example with a one-time code."
    ),
}

PARAMETER_KINDS = {
    ParameterKind.TEXT: deferred("Any text"),
    ParameterKind.INTEGER: deferred("A whole number"),
    ParameterKind.NUMBER: deferred("A number"),
    ParameterKind.DATE: deferred("A date"),
    ParameterKind.EMAIL: deferred("An email address"),
    ParameterKind.BOOLEAN: deferred("Yes or no"),
    ParameterKind.PATTERN: deferred("Text matching a pattern"),
    ParameterKind.CHOICE: deferred("One of several"),
    ParameterKind.LOCATION: deferred("A location"),
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
            return _("the API token %(name)s", name=by.name)
        case "command line":
            return _("the command line")
        case "system":
            return _("the system")
        case _:
            return by.name or _("an unknown user")


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
    if not one.waits:
        return _("added by %(person)s", person=one.added_by)
    if one.is_wanted:
        return _("added by %(person)s, taught with the next version", person=one.added_by)
    return _("added by %(person)s, goes with the next version", person=one.added_by)


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
        _(
            "Contacts who ask for it will be told that it is no longer available; the outcome will be %(outcome)s.",
            outcome=wording.OUTCOMES[Outcome.SKILL_RETIRED].label,
        ),
        _("Conversations currently using it will be completed."),
    ]
    named = [use for use in found.uses if not use.retired]
    if named:
        places = _listed([_named(use) for use in named])
        told.append(_("Still used by %(places)s; these steps will fail.", places=places))
    return told


def _named(use: SkillUse) -> str:
    if use.kind == "short menu":
        return _("the tenant’s short menu")
    values = {"name": use.label, "places": ", ".join(use.places)}
    if use.kind == "flow":
        return _n(
            "the flow %(name)s (%(count)s step: %(places)s)",
            "the flow %(name)s (%(count)s steps: %(places)s)",
            len(use.places),
            **values,
        )
    return _n(
        "the menu %(name)s (%(count)s node: %(places)s)",
        "the menu %(name)s (%(count)s nodes: %(places)s)",
        len(use.places),
        **values,
    )


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else _("%(list)s and %(last)s", list=", ".join(parts[:-1]), last=parts[-1])
