"""The HTML of an email: styles become attributes, and nothing that acts, moves or loads is left."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.rendering.plain_part import make_plain_text
from dragoman.rendering.safe_html import filter_style, make_document, sanitise_body
from dragoman.rendering.sandbox import find_reader_settings


class _TagCollector(HTMLParser):
    """Reads with another parser than the one that cleans."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def _tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    collector = _TagCollector()
    collector.feed(html)
    return collector.found


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<p onclick='a()'>a</p>", "<p>a</p>"),
        ("<script>alert(1)</script>a", "a"),
        ("<a href='javascript:alert(1)'>a</a>", "<a>a</a>"),
        ("<a href=' JaVa\tscript:alert(1)'>a</a>", "<a>a</a>"),
        ("<a href='data:text/html,a'>a</a>", "<a>a</a>"),
        ("<a href='/relative'>a</a>", "<a>a</a>"),
        ("<a href='cid:a'>a</a>", "<a>a</a>"),
        ("<a href='https://a.b/?c=1&amp;d=2'>a</a>", '<a href="https://a.b/?c=1&amp;d=2">a</a>'),
        ("<a href='mailto:a@b.c'>a</a>", '<a href="mailto:a@b.c">a</a>'),
        ("<img src='https://a.b/c.png' alt='d'>", '<img src="https://a.b/c.png" alt="d">'),
        ("<img src='cid:logo'>", '<img src="cid:logo">'),
        ("<img src='http://a.b/c.png' onerror='a()'>", "<img>"),
        ("<img src='data:image/png;base64,AAAA'>", "<img>"),
        ("<img src='mailto:a@b.c'>", "<img>"),
        ("<form action='https://a.b'><input name=a><button>b</button></form>", "b"),
        ("<iframe src='https://a.b'></iframe><object data='a'></object><embed src='a'>", ""),
        ("<svg><a xlink:href='javascript:a()'><text>b</text></a></svg>", ""),
        ("<meta http-equiv=refresh content='0;url=https://a.b'><base href='https://a.b'>a", "a"),
        ("<p style='font-family: &quot;Open Sans&quot;, Arial'>a</p>",
         '<p style="font-family: &quot;Open Sans&quot;, Arial">a</p>'),
        ("<!--[if mso]><b>a</b><![endif]-->b", "b"),
        ("<table><tr><td bgcolor='#fff' colspan=2 background='https://a.b/c'>a</td></tr></table>",
         '<table><tbody><tr><td bgcolor="#fff" colspan="2">a</td></tr></tbody></table>'),
        ("<style>p { color: red } .b { font-weight: bold !important }</style><p class=b>a</p>",
         '<p style="color: red; font-weight: bold !important">a</p>'),
        ("<style>@import url(https://a.b/c.css); p { background: url(https://a.b/c) }</style><p>a</p>", "<p>a</p>"),
        ("<p style='position: fixed; color: blue; behavior: url(a)'>a</p>", '<p style="color: blue">a</p>'),
        ("<body bgcolor='#eee' onload='a()'><p>a</p></body>", '<div bgcolor="#eee"><p>a</p></div>'),
        ("<head><script>'<body onload=a()>'</script></head><body style='color: red'>a</body>",
         '<div style="color: red">a</div>'),
    ],
)  # fmt: skip
def test_what_mail_must_not_hold_goes_and_the_rest_stays(html: str, wanted: str) -> None:
    assert sanitise_body(html) == wanted


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        ("color: red; margin: 0 auto", "color: red; margin: 0 auto"),
        ("COLOR: rgb(1, 2, 3)", "color: rgb(1, 2, 3)"),
        ("background: linear-gradient(to right, rgba(0,0,0,.5), #fff)",
         "background: linear-gradient(to right, rgba(0,0,0,.5), #fff)"),
        ("font-family: 'Open Sans', Arial", "font-family: 'Open Sans', Arial"),
        ("background: url(https://a.b/c)", ""),
        ("background: U\\52L(https://a.b/c)", ""),
        ("background: url (a)", ""),
        ("background: image-set('https://a.b/c' 1x)", ""),
        ("width: expression(alert(1))", ""),
        ("color: red/**/; color: re/**/d", ""),
        ("font-family: 'a; position: fixed; x: '", ""),
        ("font-family: \"a'", ""),
        ("color: rgb(1; color: blue", "color: blue"),
        ("color: )(", ""),
        ("-moz-binding: a; z-index: 9; position: absolute; content: 'a'", ""),
        ("color", ""),
        ("color: {}", ""),
    ],
)  # fmt: skip
def test_a_style_keeps_what_only_looks(style: str, wanted: str) -> None:
    assert filter_style(style) == wanted


def test_no_file_and_no_address_is_read_for_a_style_sheet(tmp_path: Path) -> None:
    """Sockets are refused in tests, so that an attempt would be an error of its own."""
    sheet = tmp_path / "sheet.css"
    sheet.write_text("p { color: red }")
    for address in (sheet.as_uri(), str(sheet), "http://localhost:1/sheet.css"):
        html = f"<link rel=stylesheet href='{address}'><style>@import '{address}';</style><p>a</p>"
        assert sanitise_body(html) == "<p>a</p>"


def test_the_result_is_a_whole_document_in_the_readers_language() -> None:
    document = make_document("<p>a</p>", "S <b>", find_reader_settings("zh_Hant_TW", "UTC"))
    assert document.startswith('<!DOCTYPE html>\n<html lang="zh-Hant-TW" dir="ltr">\n<head>\n<meta charset="utf-8">')
    assert "<title>S &lt;b&gt;</title>" in document
    assert document.endswith("<body>\n<p>a</p>\n</body>\n</html>\n")
    assert '<html lang="ar" dir="rtl">' in make_document("", "", find_reader_settings("ar", "UTC"))


_PIECES = st.sampled_from(
    [
        "<", ">", "</", "/>", '"', "'", "=", " ", "&lt;", "&#60;", "<!--", "-->", "<![CDATA[", "]]>", "\x00", "\n",
        "a", "<p>", "</p>", "<style>", "</style>", "p{color:red}", "<script>", "</script>", "<svg>", "<math>",
        "<title>", "<noscript>", "<textarea>", "<template>", "<xmp>", "<table>", "<td>", "<body ", "</body>",
        "</head>", "<a href=", "<img src=", "javascript:alert(1)", " onerror=alert(1)", "style=",
        "url(https://a.b)", "position:fixed", "\\", "<li>", "<ol start=3>", "<div style='display:none'>", "</div>",
        "<br>", "<hr>", "<mglyph>", "<mi>", "<form>",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=25).map("".join))
def test_whatever_is_written_another_parser_finds_nothing_that_acts(html: str) -> None:
    cleaned = sanitise_body(html)
    for tag, attributes in _tags(cleaned):
        assert tag not in {"script", "style", "svg", "math", "form", "iframe", "object", "template", "base", "link"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            if (address := attributes.get(name)) is not None:
                assert address.strip().lower().startswith(("https:", "http:", "mailto:", "tel:", "cid:"))
        assert "url(" not in (attributes.get("style") or "")
        assert "position" not in (attributes.get("style") or "")
    assert "<p>" not in make_plain_text(cleaned) or "&lt;" in cleaned
    assert "\n\n\n" not in make_plain_text(cleaned)


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("a&nbsp;b &amp; c", "a b & c"),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<div><div>a</div></div> <b>b</b><i>c</i>", "a\nbc"),
        ('<ol start="3"><li>a</li><li>b<ul><li>c</li></ul></li></ol>', "3. a\n4. b\n- c"),
        ('<a href="https://a.b"><img src="cid:c" alt="Shop"></a>', "Shop (https://a.b)"),
        ('<a href="https://a.b"></a>', "https://a.b"),
        ('<a href="tel:+43123">+43123</a>', "+43123"),
        ('<div style="display:none">a<br><b>b</b></div>c', "c"),
        ("a < b", "a < b"),
        ("a<br><br><br>b", "a\n\nb"),
    ],
)
def test_plain_text_reads_as_the_html_looks(html: str, wanted: str) -> None:
    assert make_plain_text(html) == wanted
