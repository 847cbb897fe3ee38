"""Reads YAML (or JSON) and remembers on which line everything stood, so that a mistake can be pointed at.

The plain subset: text, numbers, ``true``/``false``, null, lists and mappings with text keys. Not YAML 1.1's surprises
(``no`` is text, not false), and no aliases, tags or repeated keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

MAX_CHARACTERS = 256 * 1024
_MAX_DEPTH = 64
_NOT_PLAIN = re.compile(r"[^ -~\r\n]")


class UnreadableError(Exception):
    """The text is no document of this kind; ``line`` counts from one."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """Is a value with the lines of its parts."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Where *path* stands, or what of it there is."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


class _Loader(yaml.SafeLoader):
    """Knows the scalars of JSON and nothing else."""


# PyYAML's own table of plain scalars would be copied and added to; this one starts empty.
_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?[0-9]{1,18}$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"),
    list("-0123456789"),
)


def read_document(text: str) -> Document:
    """Read the one document in *text*. Raises UnreadableError."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(1, f"the file is longer than {MAX_CHARACTERS} characters")
    try:
        json.loads(text)
        # JSON may be indented with tabs, and its texts may hold what YAML refuses or takes for the end of a line.
        text = _NOT_PLAIN.sub(lambda found: json.dumps(found.group())[1:-1], text.replace("\t", " "))
    except (ValueError, RecursionError):
        pass
    try:
        node = yaml.compose(text, Loader=_Loader)
    except RecursionError:
        raise UnreadableError(1, "the file is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableError(mark.line + 1 if mark else 1, error.problem or "this is no YAML") from error
    except yaml.YAMLError as error:
        raise UnreadableError(1, "the file holds characters that YAML does not allow") from error
    if node is None:
        raise UnreadableError(1, "the file is empty")
    return _LineReader().document(node)


class _LineReader:
    def __init__(self) -> None:
        self._lines: dict[Path, int] = {}
        self._seen: set[int] = set()

    def document(self, node: yaml.Node) -> Document:
        self._lines[()] = _line(node)
        return Document(self._value(node, ()), self._lines)

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if id(node) in self._seen:
            raise UnreadableError(_line(node), "aliases (*name) are not allowed here; write it out")
        self._seen.add(id(node))
        if len(path) > _MAX_DEPTH:
            raise UnreadableError(_line(node), "the file is nested too deeply")
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._lines[(*path, index)] = _line(item)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        known: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UnreadableError(_line(key), "a key must be text")
            name = _joined(key.value)
            if name in known:
                raise UnreadableError(_line(key), f"{name} stands here a second time")
            known.add(name)
            self._lines[(*path, name)] = _line(key)
            yield name, self._value(value, (*path, name))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _joined(text: str) -> str:
    r"""*text* with what JSON writes as two escapes (``\ud83d\ude00``) as the one character that it is."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": _joined,
    "int": int,
    "float": _float,
    "bool": lambda text: {"true": True, "false": False}[text],
    "null": lambda _: None,
}


def _scalar(node: yaml.Node) -> Any:
    read = _SCALARS.get(node.tag.removeprefix("tag:yaml.org,2002:"))
    if read is None:
        raise UnreadableError(_line(node), f"the tag {node.tag} is not allowed here")
    try:
        return read(node.value)
    except (ValueError, KeyError) as error:
        raise UnreadableError(_line(node), "the value cannot be read") from error
