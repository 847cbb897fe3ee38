"""Values that programs come to grief on, and requests made of them: the same ones for the same seed."""

from __future__ import annotations

import ast
import functools
import inspect
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
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\x1b[31m", "\r\nX-Other: 1", "\u202e", "\ufffe", "\U0010ffff", "'", '"',
    "<b>", "{{7*7}}", "%00", "%", "%s", "$1", "\\", "../../etc/passwd", "null", "true", "-1", "0", "1", "2147483648",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 400, "9" * 5000, "1e308", "1e309", "9e999999",
    "-1e-999999", "nan", "NaN", "inf", "-Infinity", "0x10", "1_000", "٣", "１２", "²", "0001-01-01", "9999-12-31", "10000-01-01",
    "2026-02-30", "0000-00-00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00Z",
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "not-a-uuid", "a" * 41, "a" * 300, "a" * 9000,
    "é" * 200, "😀" * 130, '"' * 90, "-" * 90, "(" * 900, "*", "a* OR -b", ",,,", "!", "!!", "[]", "{}", "https://[", "http://\0/",
    "//elsewhere.example", "/\\elsewhere.example", "a@b", "a@" + "b" * 300, "\u0130", "ß" * 64, "Europe/Vienna", "../zone", "a/b",
)  # fmt: skip

JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308, [], {}, [[]], [None], {"": ""},
    {"a": {"b": ["c"]}}, ["a", 1], *TEXTS,
)  # fmt: skip

RAW_BODIES = (
    b"", b"null", b"[]", b"0", b'"a"', b"{", b"}", b'{"a":', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}" + b"\0", b"[" * 20_000,
    b'{"a":' * 5_000, b'{"a":1e999999}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\\ud800"}', b'{"a":"\\u0000"}',
    b'{"a":' + b"9" * 5_000 + b"}", b'{"a":1,"a":2}', b"a=1&a=2", b"=&=&&", b"a" * 3_000, b"%ff%00=%ed%a0%80",
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\0\r\n--x--\r\n', b"--x", b"--x\r\n\r\n\r\n--x--",
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\0b"\r\nContent-Type: image/png\r\n\r\nx\r\n--x--\r\n',
)  # fmt: skip

TYPES = (
    b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"multipart/form-data", b"text/plain",
    b"", b"application/json; charset=utf-16", b"application/x-www-form-urlencoded; charset=nonsense", b"\xff",
    b"multipart/form-data; boundary=" + b"x" * 3_000,
)  # fmt: skip

HEADERS = (
    b"accept", b"accept-encoding", b"accept-language", b"cookie", b"referer", b"range", b"if-none-match", b"if-modified-since",
    b"last-event-id", b"hx-request", b"hx-target", b"hx-current-url", b"hx-history-restore-request", b"origin", b"user-agent",
    b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id", b"traceparent", b"x-csrf-token", b"idempotency-key", b"if-range",
)  # fmt: skip
HEADER_VALUES = (
    b"", b"\xff\xfe", b"1", b"a" * 9_000, b"text/html", b"application/json", b"*/*;q=nan", b";;;===", b"bytes=0-", b"bytes=-0",
    b"bytes=9999999999999999999-", b"gzip;q=1e999, br;q=-1", b"#list", b"logs#drawer", b"http://[", b"http://dragoman.test/login?next=%00",
    b"theme=%00; zone=../../x; columns=%ff; live=paused; dragoman_session=\xff", b"zone=" + b"A" * 3_000, b"=;=;=", b"null",
    b"00-" + b"f" * 32 + b"-0000000000000000-01", b"1-1-1-1:1:", b"ffffffffffffffff-99999999-999999999999999-9999999999999999999:1:",
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

    *known* are values that fit: what a path can name, so that a request gets past the look-up of what it is about.
    """

    def __init__(self, seed: int, known: dict[str, str]) -> None:
        self._random = random.Random(seed)
        self._known = known

    def one(self, method: str, path: str, endpoint: Any) -> HostileRequest:
        """A request for that route: most of its parts fit, and some do not at all."""
        chance = self._random.random
        fields = [*field_names(endpoint), *self._random.sample(FORM_FIELDS, min(6, len(FORM_FIELDS)))]
        query = b"&".join(self._pair(fields) for _ in range(self._random.choice((0, 0, 1, 1, 2, 4))))
        headers = [(self._random.choice(HEADERS), self._random.choice(HEADER_VALUES)) for _ in range(int(chance() * 3))]
        body = b""
        if method not in ("GET", "HEAD", "DELETE") or chance() < 0.1:
            kind, body = self._body(fields, endpoint)
            headers.append((b"content-type", self._random.choice(TYPES) if chance() < 0.1 else kind))
        return HostileRequest(method, self._path(path), query, headers, body)

    def _path(self, path: str) -> str:
        def value(found: re.Match[str]) -> str:
            fitting = self._known.get(found[1], "x")
            return fitting if self._random.random() < 0.75 else self.text() or "x"

        return re.sub(r"\{(\w+)(?::\w+)?\}", value, path)

    def text(self) -> str:
        """A text that may be anything."""
        chance = self._random.random()
        if chance < 0.6:
            return self._random.choice(TEXTS)
        if chance < 0.75:
            return self._random.choice(list(self._known.values()))
        return "".join(self._random.choice(TEXTS)[:20] for _ in range(3))

    def _pair(self, fields: list[str]) -> bytes:
        name = self._random.choice(fields) if self._random.random() < 0.9 else self.text()
        written = self.text().encode("utf-8", "surrogatepass")
        return quote_plus(name.encode("utf-8", "surrogatepass")).encode() + b"=" + quote_plus(written).encode()

    def _body(self, fields: list[str], endpoint: Any) -> tuple[bytes, bytes]:
        chance = self._random.random()
        if chance < 0.1:
            return self._random.choice(TYPES), self._random.choice(RAW_BODIES)
        if "/api/" not in getattr(endpoint, "__module__", "").replace(".", "/"):
            return b"application/x-www-form-urlencoded", b"&".join(self._pair(fields) for _ in range(int(chance * 12)))
        value = {name: self._value() for name in self._random.sample(fields, min(len(fields), int(chance * 6)))}
        for name, kind in model_fields(endpoint).items():
            if self._random.random() < 0.7:
                value[name] = kind if self._random.random() < 0.5 else self._value()
        written = json.dumps(value, ensure_ascii=True)
        if chance > 0.9:
            written = re.sub(
                r":\s*(?:\d+|null)", ": " + self._random.choice(("1e999999", "NaN", "9" * 5000)), written, count=1
            )
        return b"application/json", written.encode()

    def _value(self) -> Any:
        return self._random.choice(JSON_VALUES) if self._random.random() < 0.8 else self.text()


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
    return tuple(
        sorted(named | {name for name in inspect.signature(endpoint).parameters} | set(model_fields(endpoint)))
    )


@functools.cache
def model_fields(endpoint: Any) -> dict[str, Any]:
    """Fields of the models that the endpoint takes, each with a value that has a chance to fit."""
    found: dict[str, Any] = {}
    for parameter in inspect.signature(endpoint, eval_str=True).parameters.values():
        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        for name, field in getattr(kind, "model_fields", {}).items():
            found[field.alias or name] = _fitting(str(field.annotation))
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
