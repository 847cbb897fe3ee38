"""Renders templates: the Jinja environment, and what every page is given besides its own context."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import segno
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.ext import Extension
from jinja2.runtime import Context
from markupsafe import Markup, escape

from dragoman import translations
from dragoman.domain import plain_text
from dragoman.domain.nouns import DEFAULT_CURRENCY
from dragoman.domain.permissions import role_name
from dragoman.domain.text_values import is_day, is_minute
from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.web.auth import Principal
from dragoman.web.console import assets, attachments, chat_text, filter_words, formatting, wording
from dragoman.web.console.menu import current_address, menu
from dragoman.web.http.dependencies import runtime_of

T = TypeVar("T")

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"

_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


@cache
def icon(name: str) -> Markup:
    """An icon of the sprite; decoration only, the text beside it says what it means."""
    return Markup('<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>').format(
        assets.address("icons.svg"), name
    )


@pass_context
def _money(page: Context, micros: int) -> str:
    """An amount in the currency of the tenant whose page it is."""
    identity: Principal | None = page.get("identity")
    return formatting.money(micros, DEFAULT_CURRENCY if identity is None else identity.currency)


def _for_the_reader(value: object) -> object:
    return translations.translated(value) if isinstance(value, translations.DeferredText) else value


def _first_letter(text: str, change: Callable[[str], str]) -> str:
    said = translations.translated(text)
    return f"{change(said[:1])}{said[1:]}"


def _counted_markup(one: str, other: str, count: float, /, **values: object) -> Markup:
    """A ``{% trans %}`` with ``{% pluralize %}``: its count is written as the reader writes numbers."""
    form = translations.form_of(one, other, count)
    said = {name: _for_the_reader(value) for name, value in values.items()}
    return Markup(form) % {**said, "count": translations.number(count)}  # noqa: S704 - our own texts


def _plain(values: dict[str, object]) -> dict[str, object]:
    """Values as they are before they are escaped: a text of ``_()`` in another one is escaped once, with it."""
    return {name: value.unescape() if isinstance(value, Markup) else value for name, value in values.items()}


def _add_translations(made: Environment) -> None:
    # {% trans %} holds HTML and gives its values by name; _() and _n() are plain texts, safe in an attribute too.
    made.policies["ext.i18n.trimmed"] = True
    made.newstyle_gettext = True  # type: ignore[attr-defined] # set by the extension
    made.globals.update(
        gettext=translations.markup,
        ngettext=_counted_markup,
        _=lambda text, /, **values: escape(translations.gettext(text, **_plain(values))),
        pgettext=lambda context, text, /, **values: escape(translations.pgettext(context, text, **_plain(values))),
        _n=lambda one, other, count, /, **values: escape(translations.ngettext(one, other, count, **_plain(values))),
        language_name=translations.language_name,
        script_texts=translations.script_texts,
    )


class _Unindented(Extension):
    """Takes the indentation out of templates: it is for who reads them, and would be sent with every row of a list.

    A space stays of it, since it may be all that stands between two attributes.
    """

    def preprocess(
        self,
        source: str,
        name: str | None,  # noqa: ARG002 - the signature is Jinja's
        filename: str | None = None,  # noqa: ARG002
    ) -> str:
        """Is asked by Jinja before it reads a template; lines stay where they are."""
        return _INDENTATION.sub(" ", source)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Unindented, "jinja2.ext.i18n"],
        finalize=_for_the_reader,
    )
    _add_translations(made)
    made.globals.update(
        icon=icon,
        asset=assets.address,
        STATES=wording.STATES,
        OUTCOMES=wording.OUTCOMES,
        CHANNELS=wording.CHANNELS,
        SENDERS=wording.SENDERS,
        LEVELS=wording.LEVELS,
        FILTERS={each.console: each for each in FILTERS if each.console},
        MAY_BE_DUPLICATE=wording.MAY_BE_DUPLICATE,
        MEDIA=wording.MEDIA,
        DELIVERIES=wording.DELIVERIES,
        calls_in_words=filter_words.calls,
        contact_label=formatting.contact_label,
        safe_link=chat_text.safe_link,
        order_total=attachments.total,
        map_address=attachments.map_address,
    )
    made.tests.update(long=chat_text.is_long, jumbo=chat_text.is_jumbo, day=is_day, minute=is_minute)
    made.filters.update(
        chat=chat_text.chat,
        plain=attachments.plain,
        size=formatting.size,
        playtime=formatting.playtime,
        strip_bidi_controls=formatting.strip_bidi_controls,
        phone=formatting.phone,
        money=_money,
        duration=formatting.duration,
        milliseconds=formatting.milliseconds,
        json_document=formatting.json_document,
        language=formatting.language,
        percent=formatting.percent,
        person=formatting.person,
        role=lambda name: translations.translated(role_name(name)),
        isolated=plain_text.isolated,
        first_character=plain_text.first_character,
        cut=plain_text.cut,
        number=translations.number,
        first_upper=lambda text: _first_letter(text, str.upper),
        first_lower=lambda text: _first_letter(text, str.lower),
    )
    return made


environment = _environment()


@dataclass(frozen=True, slots=True)
class PagePreferences:
    """How this browser wants its pages; from cookies, each one of a few words."""

    theme: str
    density: str
    summary: str
    keys: str
    live: str

    @classmethod
    def of(cls, request: Request) -> PagePreferences:
        """What the cookies say; what they must not say counts as nothing."""

        def choice(name: str, words: tuple[str, ...]) -> str:
            given = request.cookies.get(name, "")
            return given if given in words else words[0]

        return cls(
            theme=choice("theme", ("system", "light", "dark")),
            density=choice("density", ("compact", "comfortable")),
            summary=choice("summary", ("off", "on")),
            keys=choice("keys", ("on", "off")),
            live=choice("live", ("on", "paused")),
        )


def times_of(request: Request) -> formatting.Times:
    """Writes times in the zone that the browser named in its cookie, else in UTC."""
    name = unquote(request.cookies.get("zone", "UTC"))
    return formatting.Times.for_zone(name, runtime_of(request).clock.now())


def times_on_paper(request: Request) -> formatting.Times:
    """Writes times as they must stand where nobody sees a title."""
    return dataclasses.replace(times_of(request), on_paper=True)


def target_of(request: Request) -> str:
    """Which element of the page a fragment is wanted for (``list``); empty when the whole page is."""
    headers = request.headers
    if "hx-request" not in headers or "hx-history-restore-request" in headers:
        return ""
    return headers.get("hx-target", "").partition("#")[2]


def html(request: Request, template: str, **context: Any) -> str:
    """Render the page or fragment *template* as text."""
    identity: Principal | None = request.scope.get("state", {}).get("identity")
    usual: dict[str, Any] = {
        "look": PagePreferences.of(request),
        "times": times_of(request),
        "identity": identity,
        "menu": menu(identity),
        "path": request.url.path,
        "current_page": current_address(request.url.path),
        "fragment": target_of(request),
        "page_language": translations.reader_language(),
        "page_languages": translations.languages("console"),
    }
    return environment.get_template(template).render(usual | context)


def render(request: Request, template: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
    """The answer with *template*; one address serves page and fragments, so caches must keep them apart."""
    return HTMLResponse(html(request, template, **context), status_code, {"Vary": "HX-Request, HX-Target"})


async def off_the_loop(work: Callable[[], T]) -> T:
    """Do *work* that grows with what contacts wrote in a thread: meanwhile the process answers everybody else.

    A thread lets others go on every few milliseconds, unless a single call of it takes long (decision 0040).
    """
    return await asyncio.to_thread(work)


def qr_code(text: str) -> Markup:
    """Draw *text* as a QR code, dark on light in either theme, for which cameras look."""
    drawn = segno.make(text, error="m", micro=False).svg_inline(omitsize=True, border=3, dark="#000", light="#fff")
    drawing = Markup(drawn)  # noqa: S704 - a path made of numbers
    return Markup('<div class="qr" role="img" aria-label="{}">{}</div>').format(
        translations.gettext("QR code of the key below"), drawing
    )


def said(error: Exception) -> str:
    """What an error says, in the reader's language where it was made to be translated."""
    return translations.translated(translations.message_of(error))


def sentence(error: Exception) -> str:
    """What an error says, as a sentence for the person."""
    text = said(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
