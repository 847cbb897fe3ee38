"""Takes flows and menus in from YAML and gives them out again.

One transaction for each file. What is wrong with a file is told with its lines, all at once; nothing of it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import yaml

from dragoman.domain.definitions import DefinitionError, DefinitionProblem
from dragoman.domain.errors import DragomanError
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flow_graph import registry_problems
from dragoman.domain.flows import Flow, flow_to_json
from dragoman.domain.menus import Menu, menu_from_json, menu_to_json, reference_problems
from dragoman.domain.nouns import SkillSpec
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.skills.manifest import manifest_of
from dragoman.skills.yaml_with_lines import Document, UnreadableError, read_document
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import flows, menus, skills
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True)
class FileFault:
    """What is wrong on a line of a file, and what would be right."""

    line: int
    text: str


class FaultyFileError(DragomanError):
    """A file that cannot be taken in; :attr:`faults` are in the order of its lines."""

    def __init__(self, faults: Sequence[FileFault]) -> None:
        super().__init__("; ".join(f"line {fault.line}: {fault.text}" for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import came to; *changed* is False where the definition was the current one already."""

    name: str
    version: int
    changed: bool
    retired: bool = False


async def import_flow(runtime: Runtime, tenant_id: UUID, text: str, *, at: datetime | None = None) -> Imported:
    """Make the flow in *text* the current version of its name, since *at* or now. Raises FaultyFileError."""
    flow, document = read_flow(text)
    async with runtime.database.tenant(tenant_id) as connection:
        _refuse(document, registry_problems(flow, await skills.registry(connection, tenant_id)))
        version, changed = await flows.save_version(connection, tenant_id, flow, now=at or runtime.clock.now())
        current = (await flows.list_all(connection, tenant_id))[flow.name]
        if changed:
            await _put_on_record(runtime, connection, tenant_id, "flow", flow.name, version)
    return Imported(name=flow.name, version=version, changed=changed, retired=current.retired)


async def import_menu(
    runtime: Runtime, tenant_id: UUID, text: str, *, as_default: bool, at: datetime | None = None
) -> Imported:
    """Make the menu in *text* the current version of its name, since *at* or now. Raises FaultyFileError.

    A tenant's first menu is its default.
    """
    menu, document = read_menu(text)
    async with runtime.database.tenant(tenant_id) as connection:
        registry = await skills.registry(connection, tenant_id)
        _refuse(document, reference_problems(menu, registry, await flows.list_all(connection, tenant_id)))
        version, changed = await menus.save_version(
            connection, tenant_id, menu, now=at or runtime.clock.now(), as_default=as_default
        )
        if changed:
            await _put_on_record(runtime, connection, tenant_id, "menu", menu.name, version)
    return Imported(name=menu.name, version=version, changed=changed)


async def _put_on_record(
    runtime: Runtime, connection: Connection, tenant_id: UUID, kind: str, name: str, version: int
) -> None:
    before = {"version": version - 1} if version > 1 else {}
    await put_on_record(
        runtime, connection, tenant_id, f"{kind}.imported", name,
        object_kind=kind, by=COMMAND_LINE, before=before, after={"version": version},
    )  # fmt: skip


def read_flow(text: str) -> tuple[Flow, Document]:
    """The flow in *text*, by itself: whether its skills are there is not looked at. Raises FaultyFileError."""
    document = _document(text)
    try:
        return flow_from_json(document.value), document
    except DefinitionError as error:
        _refuse(document, error.problems)
        raise


def read_menu(text: str) -> tuple[Menu, Document]:
    """The menu in *text*, by itself: whether what it names is there is not looked at. Raises FaultyFileError."""
    document = _document(text)
    try:
        return menu_from_json(document.value), document
    except DefinitionError as error:
        _refuse(document, error.problems)
        raise


def _document(text: str) -> Document:
    try:
        return read_document(text)
    except UnreadableError as error:
        raise FaultyFileError([FileFault(error.line, str(error))]) from error


def _refuse(document: Document, problems: Sequence[DefinitionProblem]) -> None:
    if problems:
        faults = [FileFault(document.line(problem.path), problem.text) for problem in problems]
        raise FaultyFileError(sorted(faults, key=lambda fault: fault.line))


def flow_to_yaml(flow: Flow) -> str:
    """The file that, taken in again, is *flow*."""
    return dump_definition(flow_to_json(flow))


def menu_to_yaml(menu: Menu) -> str:
    """The file that, taken in again, is *menu*."""
    return dump_definition(menu_to_json(menu))


def skill_to_yaml(spec: SkillSpec) -> str:
    """The manifest that, registered again, is *spec*: a skill behind HTTP."""
    return dump_definition(manifest_of(spec))


class _DefinitionDumper(yaml.SafeDumper):
    """Writes what the reader reads back as the same: no references, and texts that look like numbers in quotes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


# YAML 1.1 takes 1e5 for a text; the reader, like JSON, for a number.
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = '"' if _NUMBER.fullmatch(value) else "|" if "\n" in value.strip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_DefinitionDumper.add_representer(str, _text)


def dump_definition(value: Any) -> str:
    """Write a definition as YAML that :func:`~dragoman.skills.yaml_with_lines.read_document` reads back as the same."""
    return yaml.dump(value, Dumper=_DefinitionDumper, sort_keys=False, allow_unicode=True, width=110)
