"""Values that programs come to grief on, and requests made of them: the same ones for the same seed."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

TEMPLATES = Path(__file__).parents[1] / "src/dragoman/web/templates"

TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\x1b[31m", "\r\nX-Other: 1", "\u202e", "\ufffe", "\U0010ffff",
    "'", '"',
    "<b>", "{{7*7}}", "%00", "%", "%s", "$1", "\\", "../../etc/passwd", "null", "true", "-1", "0", "1", "2147483648",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 400, "9" * 5000, "1e308", "1e309",
    "9e999999",
    "-1e-999999", "nan", "NaN", "inf", "-Infinity", "0x10", "1_000", "٣", "１２", "²", "0001-01-01", "9999-12-31",
    "10000-01-01",
    "2026-02-30", "0000-00-00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00Z",
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "not-a-uuid", "a" * 41, "a" * 300,
    "a" * 9000,
    "é" * 200, "😀" * 130, '"' * 90, "-" * 90, "(" * 900, "*", "a* OR -b", ",,,", "!", "!!", "[]", "{}", "https://[",
    "http://\0/",
    "//elsewhere.example", "/\\elsewhere.example", "a@b", "a@" + "b" * 300, "\u0130", "ß" * 64, "Europe/Vienna",
    "../zone", "a/b",
)  # fmt: skip

JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308, [], {}, [[]], [None],
    {"": ""},
    {"a": {"b": ["c"]}}, ["a", 1], *TEXTS,
)  # fmt: skip


@dataclass(frozen=True)
class RawNumber:
    """A number that JSON can be written with, and Python would not write."""

    digits: str


SHARP: tuple[Any, ...] = (
    "", "\0", "a\0b", "\ud800", "9e999999", RawNumber("1e999999"), RawNumber("NaN"), RawNumber("-Infinity"), 10**400,
    RawNumber("9" * 5000), 2**31, 2**63, -1, 1, "1", 1.5, True, None, [], ["a\0"], {}, {"a": "\0"}, "a" * 9000,
    "😀" * 40,
    "00000000-0000-0000-0000-000000000000", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59-23:59", "!", '"', "(", "*",
)  # fmt: skip
"""What every field gets."""

RAW_BODIES = (
    b"", b"null", b"[]", b"0", b'"a"', b"{", b"}", b'{"a":', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}" + b"\0",
    b"[" * 20_000,
    b'{"a":' * 5_000, b'{"a":1e999999}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\\ud800"}', b'{"a":"\\u0000"}',
    b'{"a":' + b"9" * 5_000 + b"}", b'{"a":1,"a":2}', b"a=1&a=2", b"=&=&&", b"a" * 3_000, b"%ff%00=%ed%a0%80",
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\0\r\n--x--\r\n', b"--x", b"--x\r\n\r\n\r\n--x--",
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\0b"\r\n\r\nx\r\n--x--\r\n',
)  # fmt: skip

TYPES = (
    b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x",
    b"multipart/form-data", b"text/plain",
    b"", b"application/json; charset=utf-16", b"application/x-www-form-urlencoded; charset=nonsense", b"\xff",
    b"multipart/form-data; boundary=" + b"x" * 3_000,
)  # fmt: skip

HEADERS = (
    b"accept", b"accept-encoding", b"accept-language", b"cookie", b"referer", b"range", b"if-none-match",
    b"if-modified-since",
    b"last-event-id", b"hx-request", b"hx-target", b"hx-current-url", b"hx-history-restore-request", b"origin",
    b"user-agent",
    b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id", b"traceparent", b"x-csrf-token", b"idempotency-key",
    b"if-range",
)  # fmt: skip
HEADER_VALUES = (
    b"", b"\xff\xfe", b"1", b"a" * 9_000, b"text/html", b"application/json", b"*/*;q=nan", b";;;===", b"bytes=0-",
    b"bytes=-0",
    b"bytes=9999999999999999999-", b"gzip;q=1e999, br;q=-1", b"#list", b"logs#drawer", b"http://[",
    b"http://dragoman.test/login?next=%00",
    b"theme=%00; zone=../../x; columns=%ff; live=paused; dragoman_session=\xff", b"zone=" + b"A" * 3_000, b"=;=;=",
    b"null",
    b"00-" + b"f" * 32 + b"-0000000000000000-01", b"1-1-1-1:1:",
    b"ffffffffffffffff-99999999-999999999999999-9999999999999999999:1:",
)  # fmt: skip


@dataclass(frozen=True)
class HostileRequest:
    """One request, ready to be sent."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Requests:
    """Makes requests for the routes of an application, with fields that their own code reads, and values from above.

    Each request fits but for one field, since a second wrong one is only looked at when the first is right; for each
    route every field gets every sharp value before one comes twice. Some requests are wrong all over.
    *known* are values that fit: what a path can name, so that a request gets past the look-up of what it is about.
    """

    def __init__(self, seed: int, known: dict[str, str]) -> None:
        self._random = random.Random(seed)
        self._known = known
        self._decks: dict[tuple[str, str], list[tuple[str, Any]]] = {}

    def one(self, method: str, path: str, endpoint: Any) -> HostileRequest:
        """A request for that route."""
        chance = self._random.random
        wild = chance() < 0.2
        name, value = self._wrong(method, path, endpoint)
        if not wild and chance() < 0.2:
            value = self._random.choice(TEXTS)
        in_path = set(re.findall(r"\{(\w+)", path))
        headers = [
            (self._random.choice(HEADERS), self._random.choice(HEADER_VALUES)) for _ in range(int(chance() * 2.5))
        ]
        query, body = [], b""
        if method in ("GET", "DELETE", "HEAD"):
            query = [
                (n, fitting) for n, (fitting, required) in model_fields(endpoint).items() if required and n != name
            ]
            query += [] if name in in_path else [(name, value)]
        else:
            kind, body = self._body(endpoint, name, value, wild=wild)
            headers.append((b"content-type", kind))
        if wild:
            query += [(self._name(endpoint), self._text()) for _ in range(self._random.choice((1, 2, 5)))]
        address = re.sub(
            r"\{(\w+)(?::\w+)?\}",
            lambda found: (_written(value) or "x") if found[1] == name else self._known.get(found[1], "x"),
            path,
        )
        return HostileRequest(method, address, _encoded(query), headers, body)

    def _wrong(self, method: str, path: str, endpoint: Any) -> tuple[str, Any]:
        deck = self._decks.setdefault((method, path), [])
        if not deck:
            in_path = re.findall(r"\{(\w+)", path)
            own = {*model_fields(endpoint), *(form_fields(endpoint) if method == "POST" else ())}
            fields = sorted({*own, *field_names(endpoint)} if method == "GET" or not own else own)
            deck += itertools.product(sorted(set(fields) - set(in_path)), SHARP)
            # Nothing else of a request is looked at where its path names nothing.
            deck += itertools.product(in_path, SHARP[:9])
            self._random.shuffle(deck)
        return deck.pop()

    def _name(self, endpoint: Any) -> str:
        named = [*field_names(endpoint), *self._random.sample(FORM_FIELDS, 6)]
        return self._random.choice(named) if self._random.random() < 0.9 else self._text()

    def _text(self) -> str:
        return (
            self._random.choice(TEXTS) if self._random.random() < 0.8 else self._random.choice([*self._known.values()])
        )

    def _body(self, endpoint: Any, name: str, value: Any, *, wild: bool) -> tuple[bytes, bytes]:
        if wild and self._random.random() < 0.4:
            return self._random.choice(TYPES), self._random.choice(RAW_BODIES)
        if ".api." in getattr(endpoint, "__module__", ""):
            return b"application/json", self._json(endpoint, name, value, wild=wild)
        fitting = [(field, self._known.get(field) or self._random.choice(FITTING)) for field in form_fields(endpoint)]
        pairs: list[tuple[str, Any]] = [pair for pair in fitting if pair[0] != name and self._random.random() < 0.9]
        if wild:
            pairs += [(self._name(endpoint), self._text()) for _ in range(3)]
        return b"application/x-www-form-urlencoded", _encoded([*pairs, (name, value)])

    def _json(self, endpoint: Any, name: str, value: Any, *, wild: bool) -> bytes:
        own = model_fields(endpoint)
        held = {field: fitting for field, (fitting, required) in own.items() if required or self._random.random() < 0.1}
        held[name] = value
        if wild:
            held[self._name(endpoint)] = self._random.choice(JSON_VALUES)
        text = json.dumps(held, default=lambda raw: f"\1{raw.digits}\1")
        return re.sub(r'"\\u0001([^"\\]*)\\u0001"', r"\1", text).encode()


def _written(value: Any) -> str:
    return value.digits if isinstance(value, RawNumber) else str(value)


def _encoded(pairs: list[tuple[str, Any]]) -> bytes:
    return b"&".join(
        b"=".join(quote_plus(part.encode("utf-8", "surrogatepass")).encode() for part in (name, _written(value)))
        for name, value in pairs
    )


def _form_fields() -> list[str]:
    found = {
        name
        for template in sorted(TEMPLATES.rglob("*.html"))
        for name in re.findall(r'\sname="([\w.-]+)"', template.read_text())
    }
    return sorted(found)


FORM_FIELDS = _form_fields()


@functools.cache
def field_names(endpoint: Any) -> tuple[str, ...]:
    """What the endpoint may read: its parameters, and the names in its module that look like fields."""
    module = sys.modules[inspect.unwrap(endpoint).__module__]
    tree = ast.parse(inspect.getsource(module))
    constants = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {text for text in constants if re.fullmatch(r"[a-z][a-z0-9_.]{0,30}", text)}
    return tuple(sorted(named | set(inspect.signature(endpoint).parameters) | set(model_fields(endpoint))))


FITTING = (
    "Ada", "ada@house.example", "administrator", "auditor", "on", "1", "30", "2026-01-01", "csv", "card", "whatsapp",
    "4711 4711",
    "+43 660 1234567", "123456789012", "correct horse battery staple", "?state=OPEN", "communications.access:read",
    "same_number",
    "https://idp.example/", "true",
)  # fmt: skip
"""Values that many a field takes."""


@functools.cache
def form_fields(endpoint: Any) -> tuple[str, ...]:
    """The fields that the code of the endpoint's module asks forms for."""
    module = sys.modules[inspect.unwrap(endpoint).__module__]
    if ".api." in module.__name__:
        return ()
    found = {
        part.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call | ast.Subscript) and "form" in ast.unparse(node)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and re.fullmatch(r"[a-z][a-z0-9_]*", part.value)
    }
    return tuple(sorted(found))


@functools.cache
def model_fields(endpoint: Any) -> dict[str, tuple[Any, bool]]:
    """Fields of the models that the endpoint takes: a value that has a chance to fit, and whether there must be one."""
    found: dict[str, tuple[Any, bool]] = {}
    for parameter in inspect.signature(endpoint, eval_str=True).parameters.values():
        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        for name, field in getattr(kind, "model_fields", {}).items():
            default = None if field.is_required() else field.get_default()
            fitting = default if isinstance(default, str | int) else _fitting(str(field.annotation))
            found[field.alias or name] = (fitting, field.is_required())
    return found


def _fitting(annotation: str) -> Any:
    if "Literal" in annotation:
        choices = re.findall(r"'([^']*)'", annotation)
        return choices[0] if choices else 1
    for word, value in (
        ("bool", True),
        ("int", 5),
        ("UUID", str(uuid4())),
        ("datetime", "2026-01-01T00:00:00Z"),
        ("list", ["a"]),
    ):
        if word in annotation:
            return value
    return "a"
