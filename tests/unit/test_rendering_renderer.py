"""Emails are rendered in a child process: whatever a template does ends in a clear error, and the next one works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.rendering.child import _forbid_event
from dragoman.rendering.renderer import RendererClosedError, RendererStartError, TemplateRenderer
from dragoman.rendering.templates import KINDS, EmailTemplate, RenderedEmail, TemplateError, TemplateVariable
from tests.waiting import PATIENCE_S, STEP_S, patience

X = (TemplateVariable(name="x", sample="a"),)
GOOD = EmailTemplate(subject="For {{ x }}", html="<p>{{ x }}</p>", variables=X)

LOOPS = "{% for a in range(1000) %}" * 5 + "{% set b = a %}" + "{% endfor %}" * 5
"""Takes for ever, writes nothing, and takes no memory."""

TOO_MUCH_MEMORY = "The template needs too much memory."
TOO_DEEP = "The template nests or calls itself too deeply."
TOO_LONG = "The result of * is too long."
NO_CLASS = "Templates may not use __class__ of a text."

ATTACKS = {
    "a long text": ("{{ 'a' * 10**9 }}", TOO_LONG),
    "a long text from the right": ("{{ 10**9 * x }}", TOO_LONG),
    "a long list": ("{{ ([1] * 10**9)|length }}", TOO_LONG),
    "a text that doubles": ("{% set y = x * 1000 %}" + "{% set y = y ~ y %}" * 40, TOO_MUCH_MEMORY),
    "a text that doubles by plus": ("{% set y = x * 9 %}" + "{% set y = y + y %}" * 40, TOO_MUCH_MEMORY),
    "a text that replace lets grow": (
        "{% set y = x * 1000 %}{{ y" + "|replace('a', y)" * 5 + "|length }}",
        TOO_MUCH_MEMORY,
    ),
    "a long block": (
        "{% set y %}"
        + "{% for a in range(1000) %}" * 3
        + "aaaaaaaaaaaaaaaaaaaaaaaa" * 99
        + "{% endfor %}" * 3
        + "{% endset %}",
        TOO_MUCH_MEMORY,
    ),
    "much output": (
        "{% for a in range(1000) %}" * 3 + "{{ x }}" * 999 + "{% endfor %}" * 3,
        "The result is longer than 1,000,000 characters.",
    ),
    "center": ("{{ x|center(10**9) }}", "There is no filter center."),
    "a format's width": ("{{ '%1000000000d' % 3 }}", "Texts cannot be formatted by %."),
    "a huge range": ("{{ range(10**9)|length }}", "A range may have 1,000 numbers at most."),
    "a range beyond machine numbers": ("{{ range(10**40)|length }}", "A range may have 1,000 numbers at most."),
    "a huge power": ("{{ 10**10**10 }}", "The result of ** is too large."),
    "a huge negative power": ("{{ 10**(0 - 10**10) }}", "The result of ** is too large."),
    "rounding by a huge power": ("{{ 1|round(10**9) }}", "A number may have 0 to 10 decimals."),
    "endless loops": (LOOPS, "The template takes longer than 0.4 seconds."),
    "a macro that calls itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", TOO_DEEP),
    "two macros that call each other": (
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
        TOO_DEEP,
    ),
    "a loop that calls itself": ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", TOO_DEEP),
    "deep brackets": ("{{" + "(" * 50_000, TOO_DEEP),
    "deep tags": ("{% if x %}" * 5_000, TOO_DEEP),
    "a class": ("{{ ''.__class__.__mro__ }}", "Templates may not use __mro__."),
    "a class by brackets": ("{{ x['__class__'] }}", "Templates may not use __class__."),
    "a class by a name put together": ("{{ x['__cla' ~ 'ss__'] }}", NO_CLASS),
    "a class by attr": ("{{ x|attr('__class__') }}", "There is no filter attr."),
    "a class by map": ("{{ [x]|map(attribute='__class__')|list }}", "There is no filter map."),
    "a class by sort": ("{{ [x, x]|sort(attribute='__class__') }}", NO_CLASS),
    "a class by join": ("{{ [x]|join(',', attribute='__class__.__mro__') }}", NO_CLASS),
    "a class by min": ("{{ [x, x]|min(attribute='__class__') }}", NO_CLASS),
    "a class by format": ("{{ '{0.__class__}'.format(x) }}", "Templates may not use format of a text."),
    "a class by format_map": (
        "{{ '{a.__class__}'.format_map({'a': x}) }}",
        "Templates may not use format_map of a text.",
    ),
    "a method of a macro": ("{% macro f() %}{% endmacro %}{{ f['_func'] }}", "Templates may not use _func."),
    "the code of range": ("{{ range['__globals__'] }}", "Templates may not use __globals__."),
    "range itself": ("{{ range }}", "A value cannot be written."),
    "the template": ("{{ self._TemplateReference__context }}", "Templates may not use _TemplateReference__context."),
    "the template by itself": ("{{ self }}", "The name self is not available in email templates."),
    "the loop's insides": (
        "{% for a in [1] %}{{ loop['_' ~ 'iterator'] }}{% endfor %}",
        "Templates may not use _iterator of a loop.",
    ),
    "a global of Jinja": ("{{ cycler }}", "The template has no variable cycler."),
    "a global of Jinja that makes text": ("{{ lipsum(n=10**6) }}", "The template has no variable lipsum."),
    "an include": ("{% include '/etc/passwd' %}", "The tag include is not available in email templates."),
    "an import": ("{% import 'os' as os %}", "The tag import is not available in email templates."),
    "unescaped output": ("{{ x|safe }}", "There is no filter safe."),
    "no escaping": (
        "{% autoescape false %}{{ x }}{% endautoescape %}",
        "The tag autoescape is not available in email templates.",
    ),
}


@pytest.fixture
async def renderer() -> AsyncIterator[TemplateRenderer]:
    renderer = TemplateRenderer()
    yield renderer
    await renderer.close()
    assert _children() == []


def _children() -> list[int]:
    """The processes that this one has for rendering, apart from what else a test run has started."""
    found = []
    for child in psutil.Process().children():
        try:
            if "dragoman.rendering.child" in child.cmdline():
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


async def _render(renderer: TemplateRenderer, template: EmailTemplate = GOOD, **values: object) -> RenderedEmail:
    async with patience():
        return await renderer.render(template, values or {"x": "a"}, locale="en", zone="UTC")


def _html(source: str) -> EmailTemplate:
    return EmailTemplate(subject="s", html=source, variables=X)


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_ends_in_a_clear_error_and_the_next_email_is_rendered(name: str) -> None:
    source, said = ATTACKS[name]
    async with TemplateRenderer(timeout_s=0.4 if "loops" in name else PATIENCE_S, memory_mb=128) as renderer:
        await _render_good_with_patience(renderer)
        with pytest.raises(TemplateError) as refused:
            await _render(renderer, _html(source))
        assert refused.value.message == said
        await _render_good_with_patience(renderer)
    assert _children() == []


async def _render_good_with_patience(renderer: TemplateRenderer) -> None:
    """Render a good email; on a busy machine even that may take longer than the small limit of a test."""
    async with patience():
        while True:
            try:
                assert (await _render(renderer)).text == "a"
            except TemplateError as error:
                assert "takes longer" in error.message  # noqa: PT017 - no error is as good
            else:
                return


async def test_emails_come_one_after_another_from_one_warm_child(renderer: TemplateRenderer) -> None:
    email = await _render(renderer, x="Ana <b>")
    assert (email.subject, email.text) == ("For Ana <b>", "Ana <b>")
    assert email.html is not None
    assert "<p>Ana &lt;b&gt;</p>" in email.html
    pids = renderer.idle_pids
    for number in range(50):
        assert (await _render(renderer, x=str(number))).text == str(number)
    assert renderer.idle_pids == pids
    assert len(pids) == 1


async def test_many_tasks_share_a_few_children() -> None:
    async with TemplateRenderer(processes=2, timeout_s=PATIENCE_S) as renderer:
        emails = await asyncio.gather(*(_render(renderer, x=str(number)) for number in range(40)))
        assert [email.text for email in emails] == [str(number) for number in range(40)]
        assert len(renderer.idle_pids) == 2
    assert _children() == []


async def test_a_template_is_checked_in_the_child(renderer: TemplateRenderer) -> None:
    assert await renderer.check(GOOD) == []
    (fault,) = await renderer.check(_html("\n{{ y }}"))
    assert (fault.message, fault.line, fault.part) == ("The template has no variable y.", 2, "html")
    assert [fault.message for fault in await renderer.check(EmailTemplate(subject=""))] == [
        "The template has neither HTML nor text."
    ]


async def test_values_are_checked_before_anything_is_rendered(renderer: TemplateRenderer) -> None:
    with pytest.raises(TemplateError, match="The variable x must be a text") as refused:
        await _render(renderer, x=[])
    assert refused.value.variable == "x"
    assert renderer.idle_pids == ()


async def test_a_child_sees_no_environment_and_no_files(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DRAGOMAN_SECRET", "s")
    monkeypatch.setenv("SECRET", "s")
    (tmp_path / "open").write_text("")
    descriptor = os.open(tmp_path / "open", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        await _render(renderer)
    finally:
        os.close(descriptor)
    (pid,) = renderer.idle_pids
    child = psutil.Process(pid)
    assert child.environ().keys() <= {"LANG", "MALLOC_ARENA_MAX", "LD_LIBRARY_PATH", "LC_CTYPE"}
    assert child.cwd() == "/"
    assert sorted(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) == [0, 1, 2]
    assert child.rlimit(psutil.RLIMIT_AS)[0] == 256 * 1024 * 1024
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NOFILE)[1] <= 8
    assert 0 < child.rlimit(psutil.RLIMIT_CPU)[0] < 100


async def test_a_cancelled_render_leaves_the_child_usable() -> None:
    source = "{% for a in range(200) %}" * 2 + "{% set b = a %}" + "{% endfor %}" * 2 + "first"
    async with TemplateRenderer(timeout_s=PATIENCE_S) as renderer:
        await _render(renderer)
        pids = renderer.idle_pids
        task = asyncio.create_task(_render(renderer, _html(source)))
        while renderer.idle_pids:
            # It is taken before anything is waited for; a step of the clock would be too late to see that.
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await _render(renderer, x="second")).text == "second"
        assert renderer.idle_pids == pids


async def test_an_abandoned_endless_render_does_not_hold_up_the_next_for_ever() -> None:
    async with TemplateRenderer(timeout_s=0.4) as renderer:
        await _render_good_with_patience(renderer)
        task = asyncio.create_task(_render(renderer, _html(LOOPS)))
        while renderer.idle_pids:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _render_good_with_patience(renderer)


async def test_a_child_that_died_while_idle_is_replaced_unseen(renderer: TemplateRenderer) -> None:
    await _render(renderer)
    (pid,) = renderer.idle_pids
    os.kill(pid, signal.SIGKILL)
    assert (await _render(renderer)).text == "a"
    assert renderer.idle_pids != (pid,)


async def test_a_child_that_dies_while_it_renders_is_replaced_and_the_template_told() -> None:
    async with TemplateRenderer(timeout_s=PATIENCE_S) as renderer:
        await _render(renderer)
        task = asyncio.create_task(_render(renderer, _html(LOOPS)))
        while renderer.idle_pids:
            await asyncio.sleep(0)
        killed = set()
        async with patience():
            while not task.done():
                # It is tried again in a new process, in case that the template is not to blame: that one dies too.
                for pid in _busy_children():
                    killed.add(pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(STEP_S)
        with pytest.raises(TemplateError, match=r"The template needs too much memory\."):
            await task
        assert len(killed) == 2
        assert (await _render(renderer)).text == "a"


def _busy_children() -> list[int]:
    """Those with a limit for the processor's time, which a child has from its first request on."""
    found = []
    for pid in _children():
        try:
            if psutil.Process(pid).rlimit(psutil.RLIMIT_CPU)[0] > 0:
                found.append(pid)
        except psutil.Error:
            continue
    return found


async def test_closing_ends_what_is_running_and_later_calls() -> None:
    renderer = TemplateRenderer(timeout_s=PATIENCE_S)
    await _render(renderer)
    task = asyncio.create_task(_render(renderer, _html(LOOPS)))
    while renderer.idle_pids:
        await asyncio.sleep(0)
    await renderer.close()
    with pytest.raises(RendererClosedError):
        await task
    with pytest.raises(RendererClosedError):
        await _render(renderer)
    await renderer.close()
    assert _children() == []


async def test_a_child_that_cannot_start_is_not_the_templates_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    async with TemplateRenderer() as renderer:
        with pytest.raises(RendererStartError, match="was not ready"):
            await _render(renderer)
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(RendererStartError, match="could be started"):
            await _render(renderer)


async def test_a_child_ends_with_whoever_started_it(renderer: TemplateRenderer) -> None:
    await _render(renderer)
    (child,) = renderer._idle
    child._writer.close()
    async with patience():
        assert await child.process.wait() == 0
    assert (await _render(renderer)).text == "a"


@pytest.mark.parametrize(
    "event", ["socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn", "ctypes.dlopen"]
)
def test_what_rendering_never_does_is_refused_by_the_audit_hook(event: str) -> None:
    with pytest.raises(PermissionError):
        _forbid_event(event, ())
    _forbid_event("os.listdir", ())
    _forbid_event("import", ())


def test_it_works_with_uvloop() -> None:
    async def run() -> None:
        async with TemplateRenderer(timeout_s=0.4, memory_mb=128) as renderer:
            await _render_good_with_patience(renderer)
            with pytest.raises(TemplateError, match=r"takes longer than 0\.4 seconds"):
                await _render(renderer, _html(LOOPS))
            await _render_good_with_patience(renderer)
            (pid,) = renderer.idle_pids
            assert sorted(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) == [0, 1, 2]

    uvloop.run(run())
    assert _children() == []


_PIECES = st.sampled_from(
    [
        "{{", "}}", "{%", "%}", "{#", "#}", " x ", " y ", "|", "upper", "money", "date", "join", "default", "(",
        ")", "[", "]", ".", ",", "=", "==", "~", "*", "**", "+", "-", "%", "/", "1", "0", "9999", "'", '"', "'a'",
        "for a in ", "x", "endfor", "if", "endif", "set", "macro f()", "endmacro", "f()", "loop", ".index",
        "range(9)", "recursive", "raw", "endraw", "call", "is defined", "not", "in", "<p>", "</p>", "<style>", "p{",
        "}", "\n", "\x00", "\ud800", "é", "😀",
    ]
)  # fmt: skip
_SOURCES = st.one_of(
    st.text(max_size=60),
    st.lists(_PIECES, max_size=14).map("".join),
    st.lists(_PIECES, max_size=10).map(lambda pieces: "{{ " + " ".join(pieces) + " }}"),
    st.lists(_PIECES, max_size=10).map(lambda pieces: "{% " + " ".join(pieces) + " %}a{% endfor %}"),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "amount", "currency"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def test_any_template_with_any_values_is_rendered_or_refused() -> None:
    with asyncio.Runner() as runner:
        renderer = TemplateRenderer()

        @settings(max_examples=300)
        @given(
            subject=_SOURCES,
            html=st.none() | _SOURCES,
            text=st.none() | _SOURCES,
            kind=st.sampled_from(KINDS),
            value=_VALUES,
            locale=st.sampled_from(["en", "de-AT", "ar", "zh_Hant_TW"]) | st.text(max_size=8),
            zone=st.sampled_from(["UTC", "Asia/Kolkata"]) | st.text(max_size=8),
        )
        def check(
            subject: str, html: str | None, text: str | None, kind: Any, value: object, locale: str, zone: str
        ) -> None:
            variables = (TemplateVariable(name="x", kind=kind, required=False),)
            template = EmailTemplate(subject=subject, html=html, text=text, variables=variables)
            runner.run(renderer.check(template))
            try:
                email = runner.run(renderer.render(template, {"x": value}, locale=locale, zone=zone))
            except TemplateError as error:
                assert error.message.endswith(".")  # noqa: PT017 - no error is as good
                assert "\n" not in error.message  # noqa: PT017 - no error is as good
            else:
                assert "\n" not in email.subject
                (email.subject + email.text + (email.html or "")).encode("utf-8")

        try:
            check()
        finally:
            runner.run(renderer.close())
    assert _children() == []
