"""The decorator: what becomes of a function, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from dragoman.domain.as_json import spec_from_json, spec_to_json
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Level, ParameterKind, Phrase
from dragoman.skills import Ask, SkillContext, collect, load_entry_points, skill
from dragoman.skills import registry as skill_registry


class Everything(BaseModel):
    free: str
    code: Annotated[str, Ask({"en": "Code?", "de": "Code?"}, pattern=r"[A-Z]\d")]
    hinted: Annotated[str, Ask({"en": "City?"}, pattern=r"in (\w+)", kind=ParameterKind.TEXT)]
    mail: Annotated[str, Ask({"en": "Mail?"}, kind=ParameterKind.EMAIL)]
    pin: Annotated[str, Ask({"en": "PIN?"}, secret=True)]
    count: int
    share: float
    day: date
    sure: bool
    colour: Annotated[Literal["red", "blue"], Ask({"en": "Which?"}, titles={"red": {"de": "Rot"}})]
    note: str | None = None


class Strange(BaseModel):
    things: list[str]


def named(name: str = "demo.thing", **more: Any) -> Callable[[Callable[..., Awaitable[Any]]], Any]:
    return skill(name=name, label="Thing", version="1", phrases={"en": ["do the thing"], "de": ["mach das"]}, **more)


@named(level=Level.PHONE_MATCHED, timeout=3.5, attempts=2, cost_micros=9, keywords=["thing"])
async def thing(context: SkillContext, wanted: Everything) -> str:
    """Does the thing.

    At some length.
    """
    return f"{wanted.free} for {context.locale}"


@named("demo.bare")
async def bare(context: SkillContext) -> str:
    return context.locale


def test_the_spec_says_what_the_function_says() -> None:
    spec = thing.spec
    assert (spec.name, spec.label, spec.version, spec.description) == ("demo.thing", "Thing", "1", "Does the thing.")
    assert (spec.minimum_level, spec.timeout_seconds, spec.max_attempts) == (Level.PHONE_MATCHED, 3.5, 2)
    assert (spec.cost_micros, spec.keywords) == (9, ("thing",))
    assert spec.phrases == (Phrase(text="do the thing", locale="en"), Phrase(text="mach das", locale="de"))
    assert {p.name: p.kind.value for p in spec.parameters} == {
        "free": "text",
        "code": "pattern",
        "hinted": "text",
        "mail": "email",
        "pin": "text",
        "count": "integer",
        "share": "number",
        "day": "date",
        "sure": "boolean",
        "colour": "choice",
        "note": "text",
    }
    by_name = {p.name: p for p in spec.parameters}
    assert by_name["code"].prompts == {"en": "Code?", "de": "Code?"}
    assert by_name["code"].pattern == r"[A-Z]\d"
    assert by_name["hinted"].pattern == r"in (\w+)"
    assert by_name["colour"].choices == ("red", "blue")
    assert by_name["colour"].titles == {"red": {"de": "Rot"}}
    assert [p.name for p in spec.parameters if p.secret] == ["pin"]
    assert [p.name for p in spec.parameters if not p.required] == ["note"]


def test_a_skill_without_parameters_takes_the_context_alone() -> None:
    assert bare.spec.parameters == ()


def test_specs_survive_storage() -> None:
    assert spec_from_json(spec_to_json(thing.spec)) == thing.spec


@pytest.mark.parametrize("name", ["thing", "Demo.thing", "demo.thing.more", "demo thing", ""])
def test_a_name_is_service_dot_skill(name: str) -> None:
    with pytest.raises(ValueError, match=r"service\.skill"):
        named(name)


@pytest.mark.parametrize("bad", [{"timeout": 0}, {"attempts": 0}, {"cost_micros": -1}])
def test_limits_must_make_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        named(**bad)


def test_a_function_that_cannot_be_a_skill_is_refused_at_import() -> None:
    async def untyped(context: SkillContext, wanted: Any) -> str:
        return ""

    async def strange(context: SkillContext, wanted: Strange) -> str:
        return ""

    async def crowded(context: SkillContext, wanted: Everything, more: int) -> str:
        return ""

    def blocking(context: SkillContext, wanted: Everything) -> str:
        return ""

    for function in (untyped, strange, crowded, blocking):
        with pytest.raises(TypeError, match=r"demo\.thing"):
            named()(function)  # type: ignore[arg-type]


def test_a_module_gives_its_skills_by_name() -> None:
    module = ModuleType("some_skills")
    vars(module).update(first=thing, again=thing, other=bare, nothing=1)
    assert collect(module) == {"demo.thing": thing, "demo.bare": bare}


def test_two_skills_of_one_name_are_refused() -> None:
    @named("demo.bare")
    async def twin(context: SkillContext) -> str:
        return ""

    module = ModuleType("some_skills")
    vars(module).update(bare=bare, twin=twin)
    with pytest.raises(ConfigurationError, match=r"demo\.bare"):
        collect(module)


def test_a_package_that_cannot_be_imported_is_an_error_and_not_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name, value = "broken", "no_such_package"

        def load(self) -> ModuleType:
            raise ModuleNotFoundError("no_such_package")

    monkeypatch.setattr(skill_registry, "entry_points", lambda **_: [Broken()])
    with pytest.raises(ConfigurationError, match="no_such_package"):
        load_entry_points()
