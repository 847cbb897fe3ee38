"""Makes HTML safe to send: style sheets become attributes, what mail must not hold goes, a whole document comes out."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape

import css_inline
import nh3

from dragoman.rendering.sandbox import ReaderSettings
from dragoman.rendering.templates import TemplateError

_TAGS = frozenset(
    """
    a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt
    em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q rp rt ruby s
    samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)
_SILENT_TAGS = frozenset({"script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math"})
"""Elements that go with all that is in them; of others that are not allowed the content stays."""

_ATTRIBUTES = {
    "*": {"align", "aria-hidden", "aria-label", "bgcolor", "dir", "height", "lang", "role", "style", "title", "valign"}
    | {"width"},
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "font": {"color", "face", "size"},
    "img": {"alt", "border", "src"},
    "ol": {"start", "type"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "headers", "nowrap", "rowspan"},
    "th": {"colspan", "headers", "nowrap", "rowspan", "scope"},
    "ul": {"type"},
}
_LINK_SCHEMES = frozenset({"https", "http", "mailto", "tel"})
_IMAGE_SCHEMES = frozenset({"https", "cid"})

_STYLE_PROPERTIES = frozenset(
    """
    background background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width
    border-collapse border-color border-left border-left-color border-left-style border-left-width border-radius
    border-right border-right-color border-right-style border-right-width border-spacing border-style border-top
    border-top-color border-top-style border-top-width border-width box-sizing clear color direction display float font
    font-family font-size font-style font-variant font-weight height letter-spacing line-height list-style
    list-style-type margin margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width
    mso-hide mso-line-height-rule mso-padding-alt mso-table-lspace mso-table-rspace opacity overflow overflow-wrap
    padding padding-bottom padding-left padding-right padding-top table-layout text-align text-decoration
    text-decoration-color text-indent text-transform unicode-bidi vertical-align visibility white-space width
    word-break word-spacing word-wrap
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)
"""What may be set of an element's looks: nothing that moves it over others, hides a link or loads a file."""

_STYLE_FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "linear-gradient"})
# No escapes, comments, braces or semicolons in quotes: what is left is read in one way only.
_STYLE_VALUE = re.compile(r"""[\w\s#%.,()'"!+/*-]{1,300}""")

_BODY = re.compile(r"""<body((?:[^">]|"[^"]*")*+)>""")

_INLINER = css_inline.CSSInliner(
    load_remote_stylesheets=False, keep_style_tags=False, keep_link_tags=False, keep_at_rules=False
)


def make_document(html: str, subject: str, reader: ReaderSettings) -> str:
    """Make a whole, safe document of what a template gave. Raises TemplateError where its style cannot be read."""
    content = sanitise_body(html)
    direction = reader.locale.text_direction
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(reader.language_tag)}" dir="{direction}">\n<head>\n'
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(subject)}</title>\n</head>\n<body>\n{content}\n</body>\n</html>\n"
    )


def sanitise_body(html: str) -> str:
    """Take the body out of *html*, with its style sheets as attributes and without what mail must not hold."""
    try:
        inlined = _INLINER.inline(html)
    except ValueError as error:
        raise TemplateError(f"The style sheet cannot be read: {' '.join(str(error)[:200].split())}.") from None
    return _CLEANER.clean(_take_body(inlined)).strip()


def _take_body(document: str) -> str:
    """Take what stands in the body; how the body looks goes to a box around it, since a cleaner drops the body.

    Nothing rests on this for safety: what is taken is cleaned, whatever it is.
    """
    head_end = document.find("</head>")
    begin = document.find("<body", max(head_end, 0))
    opening = _BODY.match(document, begin) if begin >= 0 else None
    if opening is None:
        return document
    end = document.rfind("</body>")
    content = document[opening.end() : end if end >= opening.end() else len(document)]
    return f"<div{opening[1]}>{content}</div>" if opening[1].strip() else content


def _filter_attribute(tag: str, attribute: str, value: str) -> str | None:
    """Look at the values that the cleaner does not look at closely enough; None takes the attribute away."""
    if attribute == "style":
        return filter_style(value) or None
    if attribute in {"href", "src"}:
        scheme = value.strip().partition(":")[0].lower()
        return value if scheme in (_IMAGE_SCHEMES if tag == "img" else _LINK_SCHEMES) else None
    return value


@lru_cache(maxsize=4096)
def filter_style(style: str) -> str:
    """Keep the declarations of a style attribute that may stand in mail."""
    kept = []
    for declaration in style.split(";"):
        name, _, value = declaration.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name in _STYLE_PROPERTIES and _is_safe_value(value):
            kept.append(f"{name}: {value}")
    return "; ".join(kept)


def _is_safe_value(value: str) -> bool:
    if not _STYLE_VALUE.fullmatch(value) or "/*" in value:
        return False
    # A quote or bracket that stays open would take the next declaration into the value.
    if value.count('"') % 2 or value.count("'") % 2 or ('"' in value and "'" in value):
        return False
    depth = 0
    for begin, character in enumerate(value):
        if character == "(":
            name = value[:begin].replace(",", " ").split()[-1:] or [""]
            depth += 1
            if name[0].rpartition("(")[2].lower() not in _STYLE_FUNCTIONS:
                return False
        elif character == ")":
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


_CLEANER = nh3.Cleaner(
    tags=set(_TAGS),
    clean_content_tags=set(_SILENT_TAGS),
    attributes=_ATTRIBUTES,
    attribute_filter=_filter_attribute,
    url_schemes=set(_LINK_SCHEMES | _IMAGE_SCHEMES),
    url_relative="deny",
    link_rel=None,
    strip_comments=True,
)
