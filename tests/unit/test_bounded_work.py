"""The work for any text grows with its length and no faster: for every pattern and every reader of outside text.

Nobody has to think of this test. Patterns are found in the modules, as values and as literals in calls of :mod:`re`,
and are held against texts that are made of them. Functions are found by their mark (:mod:`dragoman.bounded`),
and a function that goes through a text with a pattern and is reached by no marked one is refused.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache, partial
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

import dragoman
from dragoman.bounded import OUTSIDE_TEXT_READERS
from dragoman.channels.email import wire
from dragoman.classify.local import LocalClassifier, train_examples
from dragoman.domain import redaction
from dragoman.domain.content import Text
from dragoman.domain.flows import Validation, Variable, VariableType
from dragoman.domain.message_template import MessageTemplate
from dragoman.domain.nouns import Parameter, ParameterKind
from dragoman.domain.search_words import Search
from dragoman.services.masking import Mask, WholeMask
from dragoman.skills.hosts.output import CHUNK, Lines
from dragoman.web.console.formatting import Times
from dragoman.web.console.transcript import items
from tests.browser.records import START, message
from tests.growth import SHAPES, shapes_of, steep

RULES = tuple(redaction.READY.values())
OTHERS_TEXT = {
    "dragoman.sql", "dragoman.ledger", "dragoman.store.migrate", "dragoman.skills.yaml_with_lines", "dragoman.settings",
    "dragoman.services.catalogue", "dragoman.cli",
}  # fmt: skip
"""Rooms whose patterns see what we write ourselves, or what an operator hands over: statements, names, definitions."""

TIMES = Times.for_zone("UTC", START)
SEARCHES = {"search", "finditer", "findall", "sub", "subn", "split"}
WHOLE = {"fullmatch", "match"}


@cache
def modules() -> tuple[ModuleType, ...]:
    return tuple(importlib.import_module(found.name) for found in pkgutil.walk_packages(dragoman.__path__, "dragoman."))


def _patterns(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str]]]:
    """The module's own patterns by name, alone or in tuples, and those that are written where they are used."""
    for name, value in vars(module).items():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, re.Pattern) and isinstance(one.pattern, str):
                yield name, one
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.") and node.args:
            written = node.args[0]
            if isinstance(written, ast.Constant) and isinstance(written.value, str):
                name = ast.unparse(node.func).removeprefix("re.")
                yield (
                    "" if name in {"search", "sub", "findall", "finditer", "split"} else name,
                    re.compile(written.value),
                )


def _is_searched(module: ModuleType, name: str) -> bool:
    """Whether a pattern is looked for anywhere in a text, or only held against the whole of one."""
    if name in WHOLE | {"compile"}:
        return False
    used = re.findall(rf"\b{name}\b(?:\.(\w+)\()?", inspect.getsource(module)) if name else [""]
    return any(method not in WHOLE for method in used[1:] or [""])


CASES = sorted(
    {
        (f"{m.__name__}:{pattern.pattern[:40]}", _is_searched(m, name), pattern)
        for m in modules()
        for name, pattern in _patterns(m)
    },
    key=lambda case: case[:2],
)


@pytest.mark.parametrize(("named", "searched", "pattern"), CASES, ids=[case[0] for case in CASES])
def test_no_pattern_takes_more_than_the_text_is_long(named: str, searched: bool, pattern: re.Pattern[str]) -> None:
    def run(text: str) -> None:
        if not searched or any(named.startswith(room) for room in OTHERS_TEXT):
            pattern.fullmatch(text)
            pattern.match(text)
            return
        for _ in pattern.finditer(text):
            pass

    assert steep(run, (*SHAPES, *shapes_of(pattern))) == []


def _mention(reader: Callable[..., Any], text: str) -> None:
    for kind in ParameterKind:
        parameter = Parameter(name="x", kind=kind, choices=("may", "thanks a lot"), pattern=r"VF-\d+")
        reader(parameter, text, today=date(2026, 1, 1), locale="en")


def _answered(reader: Callable[..., Any], text: str) -> None:
    for kind in (VariableType.PHONE, VariableType.BUSINESS_PARTNER_ID):
        reader(Variable(name="x", type=kind), Validation(), text, today=date(2026, 1, 1), locale="en")


def _mail(reader: Callable[..., Any], text: str) -> None:
    written = text.encode("utf-8", "replace")
    folded = written.replace(b"\n", b"\n ")
    for name in (
        b"To",
        b"Subject",
        b"References",
        b"Content-Type",
        b"Content-Disposition",
        b"Content-Transfer-Encoding",
    ):
        reader(b"%s: %s\r\nFrom: a@b.example\r\n\r\nbody" % (name, folded))
    for kind in (b"text/plain", b"text/html", b"multipart/mixed; boundary=a"):
        reader(b"Content-Type: %s\r\nFrom: a@b.example\r\n\r\n4111111111111111 %s" % (kind, written))
    reader(written)


def _parsed_mail(reader: Callable[..., Any], text: str) -> None:
    """Calls a reader of mails that were taken apart, with *text* wherever such a reader looks."""
    written = text.encode("utf-8", "replace")
    folded = written.replace(b"\n", b"\n ")
    names = (b"From", b"Auto-Submitted", b"Precedence", b"Return-Path", b"X-Auto-Response-Suppress", b"References")
    bodies = [b"%s: %s\r\n\r\n" % (name, folded) for name in names]
    bodies.append(b"From: a@b.example\r\n" + b"Precedence: %s\r\n" % folded[:20] * (len(folded) // 20) + b"\r\n")
    parts = (b"delivery-status", b"global-delivery-status", b"feedback-report")
    fields = b"Action: failed\r\nFeedback-Type: abuse\r\nStatus: %s\r\nDiagnostic-Code: %s\r\n" % (folded, folded)
    for kind, field in ((kind, field) for kind in parts for field in (fields, written)):
        bodies.append(
            b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/%s\r\n\r\na: b\r\n\r\n%s"
            b"\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n%s\r\n--b--\r\n" % (kind, field, written)
        )
    mark = b"\n\n--- Below this line is a copy of the "
    bodies.append(
        b"Content-Type: text/plain\r\n\r\nHi. This is the \n\n<%s>:%s%s%s" % (written, written, mark, written)
    )
    for body in bodies:
        reader(wire.parse(body)[0])


def _completion(reader: Callable[..., Any], text: str) -> None:
    completion = {"choices": [{"message": {"content": text}}]}
    for body in (text, json.dumps(completion)):
        reader(body.encode("utf-8", "replace"), {"orders.status"})


def _delivery(text: str) -> bytes:
    message = {"from": "1", "id": "w", "type": "text", "text": {"body": text}}
    value = {"metadata": {"phone_number_id": "1"}, "messages": [message]}
    return json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).encode()


def _or_refused(reader: Callable[..., Any], *arguments: object) -> object:
    try:
        return reader(*arguments)
    except (ValueError, RecursionError):
        pass
    except Exception as error:
        assert type(error).__module__.startswith("dragoman."), error  # noqa: PT017 - any other is a fault
    return None


def _relay(text: str) -> None:
    lines, data = Lines(lambda _: None, lambda _: None), text.encode("utf-8", "replace")
    for place in range(0, len(data), CHUNK):
        lines.feed(data[place : place + CHUNK])
    lines.end()


def _evidence(reader: Callable[..., Any], text: str) -> None:
    row = {"sender": "contact", "sender_name": text, "delivery": None, "kind": "form", "content": {"a": text}}
    reader(row | {"text": text, "at": START, "ordinal": 1})


def _template(text: str) -> MessageTemplate:
    return MessageTemplate(
        name="n", language="en", category="utility", status="APPROVED", body=f"{{{{1}}}} {text}", header=text
    )


@cache
def _classifier() -> LocalClassifier:
    return train_examples([("where is my order", "orders.status"), ("tell me a joke", "out_of_scope")])


CALLS: dict[str, Callable[..., Any]] = {
    "channels.email.automatic.automatic_reason": _parsed_mail,
    "channels.email.inbound.read": _mail,
    "channels.email.redact.redact": lambda reader, text: _mail(lambda body: reader(body, RULES), text),
    "channels.email.reports.read_report": _parsed_mail,
    "channels.whatsapp.inbound.parse": lambda reader, text: (
        reader(_delivery(text)), _or_refused(reader, text.encode("utf-8", "replace"))
    ),
    "channels.whatsapp.redact.redact": lambda reader, text: reader(_delivery(f"4111111111111111 {text}"), RULES),
    "channels.whatsapp.wire.read_object": _or_refused,
    "classify.model_answer.read_model_answer": _completion,
    "classify.local.LocalClassifier.classify": lambda reader, text: reader(_classifier(), text, "en"),
    "dispatch.extract.answer": _mention,
    "dispatch.extract.mention": _mention,
    "dispatch.flow_values.answered": _answered,
    "domain.canned_reply.fill": lambda reader, text: (
        reader(text, {"contact.name": text}), reader("{{contact.name}}", {"contact.name": text})
    ),
    "domain.media_types.safe_filename": lambda reader, text: reader(text, otherwise="file"),
    "domain.message_template.faults": lambda reader, text: reader(_template(text), {"body.1": text}),
    "domain.message_template.preview": lambda reader, text: reader(_template(text), {"body.1": text}),
    "dispatch.verification._codes": lambda reader, text: [list(reader(text, asked=a)) for a in (True, False)],
    "domain.plain_text.boundary": lambda reader, text: (reader(text, 200), reader(text, len(text) // 2)),
    "domain.plain_text.cut": lambda reader, text: (reader(text, 200), reader(text, len(text) // 2, mark="…")),
    "domain.plain_text.cut_to_units": lambda reader, text: (reader(text, 24), reader(text, len(text) // 2)),
    "domain.plain_text.folded": lambda reader, text: (reader(text), reader(f"{text}１")),
    "domain.plain_text.normalized": lambda reader, text: (reader("NFKC", text), reader("NFD", text)),
    "domain.patterns.search": lambda reader, text: reader(r"[a-z]+[a-z]+1", text),
    "domain.redaction.clean": lambda reader, text: reader(text, RULES),
    "domain.search_words.Search.marks": lambda reader, text: reader(Search.parse('a "a b c" 1* hello'), text),
    "domain.search_words.Search.parse": lambda _, text: Search.parse(text).query(UUID(int=1)),
    "domain.search_words.snippet": lambda reader, text: reader(text, Search.parse('a "a b c" 1* hello')),
    "domain.search_words.vector": lambda reader, text: reader(UUID(int=1), text),
    "domain.split.split": lambda reader, text: reader(text, 160),
    "services.exports.evidence_pages._message": _evidence,
    "services.masking.Mask.text": lambda reader, text: reader(Mask(["+436601234567", "+4312"]), text),
    "services.masking.WholeMask.text": lambda reader, text: reader(WholeMask(["+436601234567", "+4312"]), text),
    "skills.hosts.output.Lines.feed": lambda _, text: _relay(text),
    "skills.http_answer.read_answer": lambda reader, text: (
        _or_refused(reader, text.encode("utf-8", "replace"), None),
        _or_refused(reader, json.dumps({"replies": [f"a{text[:16_000]}"], "data": {"a": text}}).encode(), None),
    ),
    "web.console.plain.transcript": lambda reader, text: reader(
        items([message(1, Text(text))], [], contact="Ana", times=TIMES), TIMES
    ),
}  # fmt: skip
"""How the readers are called that take more than a text."""


@pytest.mark.parametrize("name", sorted(OUTSIDE_TEXT_READERS))
def test_no_reader_takes_more_than_the_text_is_long(name: str) -> None:
    reader = OUTSIDE_TEXT_READERS[name]
    call = CALLS.get(name.removeprefix("dragoman."))
    run = partial(call, reader) if call else lambda text: _consume(reader(text))
    assert steep(run, SHAPES, size=512) == []


def _consume(result: object) -> None:
    if isinstance(result, Iterator):
        for _ in result:
            pass


def test_no_function_that_reads_text_with_a_pattern_is_forgotten() -> None:
    """Each that looks for a pattern is marked, or is called by one that is, in its own module."""
    forgotten = [
        f"{module.__name__}.{name}"
        for module in modules()
        if not any(module.__name__.startswith(room) for room in OTHERS_TEXT)
        for name in _unreached(module)
    ]
    assert sorted(set(forgotten) - KNOWN_SHORT.keys()) == []


KNOWN_SHORT = {
    "dragoman.dispatch.flow_values.filled": "a flow's own text; values in it are cut at 200 characters",
    "dragoman.dispatch.verification.code_in": "one search with one pattern, which is measured above",
    "dragoman.domain.policies._closed_text": "two searches of an administrator's text of at most 1,000 characters",
    "dragoman.domain.flow_form.say": "a flow's own text",
    "dragoman.domain.step_content._link": "a flow's own address of at most 1,500 characters",
    "dragoman.domain.step_content._look_at": "a flow's own text",
    "dragoman.domain.step_content._media": "a flow's own address of at most 1,500 characters",
    "dragoman.dispatch.flow_answers.message_of": "a flow's own address",
    "dragoman.services.masking._pattern": "a phone number",
    "dragoman.store.reviews.write_note": "one search with one pattern, in at most 4,000 characters",
    "dragoman.web.console.page.preprocess": "a template's own text",
    "dragoman.web.console.query.filter_errors": "a value of at most 200 characters",
    "dragoman.web.console.simulator._phone": "a phone number that a developer types",
}
"""Functions that need not be marked, with the reason."""


def _unreached(module: ModuleType) -> set[str]:
    patterns = {name for name, _ in _patterns(module)} - {""}
    functions: dict[str, list[ast.AST]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.setdefault(node.name, []).append(node)
    uses = {
        name: {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
        | {n.attr for node in nodes for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        for name, nodes in functions.items()
    }
    reading = {name for name, nodes in functions.items() if any(_looks_for(node, patterns) for node in nodes)}
    reached = {name.rpartition(".")[2] for name in OUTSIDE_TEXT_READERS if name.startswith(f"{module.__name__}.")}
    while more := {
        name for name in functions if name not in reached and any(name in uses[r] for r in reached if r in uses)
    }:
        reached |= more
    return reading - reached


def _looks_for(node: ast.AST, patterns: set[str]) -> bool:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SEARCHES:
            owner = ast.unparse(call.func.value)
            if owner in patterns or owner == "re":
                return True
    return False
