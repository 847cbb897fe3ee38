"""Runs in a process of its own, renders one email after another there, and can do nothing else.

It speaks frames of JSON with a length before them, on a socket that is its standard input: a request, then its answer.
It has no other descriptors, no environment to speak of, and limits for memory, time, files and processes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import socket
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NoReturn

from jinja2 import Template as CompiledTemplate

from dragoman.rendering.plain_part import make_plain_text
from dragoman.rendering.safe_html import make_document, sanitise_body
from dragoman.rendering.sandbox import (
    ReaderSettings,
    check_template,
    environment_for,
    explain_error,
    find_forbidden,
    find_reader_settings,
)
from dragoman.rendering.templates import EmailTemplate, RenderedEmail, TemplateError, TemplatePart
from dragoman.rendering.values import clean_text, decode_value
from dragoman.rendering.wire import LENGTH, pack_frame

SUBJECT_LIMIT = 255
HTML_LIMIT_BYTES = 1_000_000
TEXT_LIMIT_BYTES = 200_000

CACHE_SOURCE_LIMIT = 1_000_000
"""Characters of source whose compiled form is kept; that takes some ten times as much memory."""

OPEN_FILES_LIMIT = 8
"""Its three, and one at a time for the data of a language or of a time zone."""

_FORBIDDEN_EVENTS = ("ctypes.", "os.", "pty.", "shutil.", "signal.", "socket.", "subprocess.", "urllib.", "winreg.")
_ALLOWED_EVENTS = frozenset({"os.listdir", "os.scandir"})

# Signs that no line of an email can hold: control characters, the line breaks of Unicode, half surrogate pairs.
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)], " ")
_CONTROLS_OF_TEXT = {code: None for code in _CONTROLS if code not in {0x09, 0x0A, 0x2028, 0x2029}}


class EmailRenderer:
    """Renders emails in this process, without limits of time and memory; those are the process's."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[tuple[TemplatePart, str], CompiledTemplate] = OrderedDict()
        self._cached_chars = 0

    def render(self, template: EmailTemplate, values: Mapping[str, Any], reader: ReaderSettings) -> RenderedEmail:
        """Render all parts. Raises TemplateError."""
        subject = " ".join(self._fill("subject", template.subject, values, reader).translate(_CONTROLS).split())
        if len(subject) > SUBJECT_LIMIT:
            raise TemplateError(f"The subject is longer than {SUBJECT_LIMIT} characters.", part="subject")
        html = text = None
        if template.html is not None:
            filled = self._fill("html", template.html, values, reader)
            try:
                html = make_document(filled, subject, reader)
            except Exception as error:
                raise explain_error(error, "html") from error
            _limit_size(html, HTML_LIMIT_BYTES, "html")
        if template.text is not None:
            text = self._fill("text", template.text, values, reader)
        elif html is not None:
            text = make_plain_text(html[html.index("<body>") + len("<body>") : html.rindex("</body>")])
        text = "\n".join(line.rstrip() for line in (text or "").splitlines()).translate(_CONTROLS_OF_TEXT).strip("\n")
        _limit_size(text, TEXT_LIMIT_BYTES, "text")
        return RenderedEmail(subject=subject, html=html, text=text)

    def _fill(self, part: TemplatePart, source: str, values: Mapping[str, Any], reader: ReaderSettings) -> str:
        environment_for(part).reader = reader
        limit = HTML_LIMIT_BYTES if part == "html" else TEXT_LIMIT_BYTES
        # Not a list of pieces: a million of one character each would take a hundred times their size.
        written, size_chars = io.StringIO(), 0
        try:
            for piece in self._compile(part, source).generate(values):
                size_chars += len(piece)
                if size_chars > limit:
                    raise TemplateError(f"The result is longer than {limit:,} characters.", part=part)
                written.write(piece)
            return clean_text(written.getvalue())
        except Exception as error:
            raise explain_error(error, part) from error

    def _compile(self, part: TemplatePart, source: str) -> CompiledTemplate:
        key = (part, source)
        if (known := self._compiled.get(key)) is not None:
            self._compiled.move_to_end(key)
            return known
        environment = environment_for(part)
        tree = environment.parse(clean_text(source))
        for fault in find_forbidden(tree, part):
            raise fault
        compiled = environment.from_string(tree)
        self._compiled[key] = compiled
        self._cached_chars += len(source)
        while self._cached_chars > CACHE_SOURCE_LIMIT:
            (_, dropped), _ = self._compiled.popitem(last=False)
            self._cached_chars -= len(dropped)
        return compiled


def _limit_size(text: str, limit_bytes: int, part: TemplatePart) -> None:
    if len(text.encode("utf-8")) > limit_bytes:
        raise TemplateError(f"The result is larger than {limit_bytes // 1000:,} kB.", part=part)


def answer_request(renderer: EmailRenderer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked; whatever goes wrong becomes an answer. ``is_spent`` asks for another process next time."""
    try:
        template = EmailTemplate.from_json(request["template"])
        if request["do"] == "check":
            return {"faults": [fault.to_json() for fault in check_template(template)]}
        values = {name: decode_value(value) for name, value in request["values"].items()}
        reader = find_reader_settings(request["locale"], request["zone"])
        return {"email": renderer.render(template, values, reader).to_json()}
    except BaseException as error:
        # Of the libraries in Rust some errors are no Exception. What ran out of memory may be half done.
        is_out_of_memory = _is_caused_by_memory(error)
        if not isinstance(error, TemplateError):
            error = explain_error(error, None)
        return {"fault": error.to_json(), "is_spent": is_out_of_memory}


def _is_caused_by_memory(error: BaseException | None) -> bool:
    while error is not None:
        if not isinstance(error, Exception) or isinstance(error, MemoryError):
            return True
        error = error.__cause__
    return False


def _forbid_event(event: str, _arguments: Any) -> None:
    """Refuse what rendering never does, in case that a template gets out of its sandbox."""
    if event.startswith(_FORBIDDEN_EVENTS) and event not in _ALLOWED_EVENTS:
        raise PermissionError(event)


def close_inherited() -> None:
    """Close what the parent left open but the three that are ours: not every event loop does so when it starts us."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - whose directory is closed when it is gone through
        # The one that lists them is among them, and closed already.
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


def limit_process(memory_mb: int) -> None:
    """Take from this process what rendering does not need. Time is limited for each request."""
    size_bytes = memory_mb * 1024 * 1024
    for limited, most in (
        (resource.RLIMIT_AS, size_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES_LIMIT),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limited, (most, most))


def _limit_time(cpu_s: int) -> None:
    """Let the next request have so much of the processor's time: the limit counts from the process's start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + cpu_s + 1
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _warm_up(renderer: EmailRenderer) -> None:
    """Load what the first email would have to wait for."""
    template = EmailTemplate(subject="{{ a }}", html="<style>p { color: red }</style><p>{{ 1|money('EUR') }}</p>")
    renderer.render(template, {"a": "a"}, find_reader_settings("en", "UTC"))
    sanitise_body("<p>a</p>")


def _receive(link: socket.socket, size_bytes: int) -> bytes:
    """Read so many bytes; ends the process where there are no more to come."""
    received = bytearray()
    while len(received) < size_bytes:
        chunk = link.recv(min(size_bytes - len(received), 1 << 20))
        if not chunk:
            os._exit(0)
        received += chunk
    return bytes(received)


def main() -> NoReturn:
    """Serve until the other end of the socket closes; the arguments are MB of memory and seconds for a request."""
    memory_mb, cpu_s = int(sys.argv[1]), int(sys.argv[2])
    close_inherited()
    link = socket.socket(fileno=0)
    renderer = EmailRenderer()
    _warm_up(renderer)
    limit_process(memory_mb)
    sys.addaudithook(_forbid_event)
    link.sendall(pack_frame({"is_ready": True}))
    while True:
        (size_bytes,) = LENGTH.unpack(_receive(link, LENGTH.size))
        request = json.loads(_receive(link, size_bytes))
        _limit_time(cpu_s)
        link.sendall(pack_frame(answer_request(renderer, request)))


if __name__ == "__main__":
    main()
