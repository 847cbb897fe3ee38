"""Writes a trigger as the YAML file that people keep and review, and reads one, with the lines of its faults."""

from __future__ import annotations

from dragoman.domain.definitions import DefinitionError
from dragoman.domain.triggers import Trigger, trigger_to_json
from dragoman.services.automation.manage_triggers import read_trigger
from dragoman.services.catalogue.import_definitions import FaultyFileError, FileFault, dump_definition
from dragoman.skills.yaml_with_lines import UnreadableError, read_document


def trigger_to_yaml(trigger: Trigger) -> str:
    """The file that, read again, is *trigger*."""
    return dump_definition(trigger_to_json(trigger))


def read_trigger_yaml(text: str) -> Trigger:
    """Read the trigger in *text*. Raises FaultyFileError with every fault and its line."""
    try:
        document = read_document(text)
    except UnreadableError as error:
        raise FaultyFileError([FileFault(error.line, str(error))]) from error
    try:
        return read_trigger(document.value)
    except DefinitionError as error:
        faults = [FileFault(document.line(problem.path), problem.text) for problem in error.problems]
        raise FaultyFileError(sorted(faults, key=lambda fault: fault.line)) from error
