"""WhatsApp's formatting as HTML, and that nothing else gets through."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.web.console.chat_text import chat, is_jumbo, is_long, safe_link


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold*", "<strong>bold</strong>"),
        ("_it_ and ~no~", "<em>it</em> and <s>no</s>"),
        ("*_both_*", "<strong><em>both</em></strong>"),
        ("*a _b* c_", "<strong>a _b</strong> c_"),
        ("```x = *1*```", "<pre>x = *1*</pre>"),
        ("a```\n1\n2\n```b", "a<pre>1\n2</pre>b"),
        ("`a_b_c`", "<code>a_b_c</code>"),
        ("*`x`*", "<strong><code>x</code></strong>"),
        ("> said\nme", "<q>said</q>me"),
        ("> one\n> *two*\n", "<q>one\n<strong>two</strong></q>"),
        ("list:\n- a\n- *b*\nend", "list:<ul><li>a</li><li><strong>b</strong></li></ul>end"),
        ("* a\n* b", "<ul><li>a</li><li>b</li></ul>"),
        ("3. c\n4. d", '<ol><li value="3">c</li><li value="4">d</li></ol>'),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("snake_case_name", "snake_case_name"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("2*3*4", "2*3*4"),
        ("*no\nbold*", "*no\nbold*"),
        ("(*yes*)", "(<strong>yes</strong>)"),
        ("<b>*x*</b>", "&lt;b&gt;<strong>x</strong>&lt;/b&gt;"),
        ("\"a\" & 'b'", "&#34;a&#34; &amp; &#39;b&#39;"),
        ("***", "***"),
        ("``````", "``````"),
        ("-5 degrees", "-5 degrees"),
        ("1.5 kg", "1.5 kg"),
    ],
)
def test_chat_formatting(text: str, html: str) -> None:
    assert str(chat(text)) == html


def links(text: str) -> list[str]:
    return re.findall(r'<a href="([^"]*)" rel="noopener noreferrer nofollow ugc" target="_blank">', str(chat(text)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see https://example.com/a_b_c.", ["https://example.com/a_b_c"]),
        ("(https://example.com/x)", ["https://example.com/x"]),
        ("https://en.example.org/wiki/A_(b)", ["https://en.example.org/wiki/A_(b)"]),
        ("*https://example.com/x*", ["https://example.com/x"]),
        ('https://example.com/"onmouseover="alert(1)', ["https://example.com/"]),
        ("HTTPS://EXAMPLE.COM", ["HTTPS://EXAMPLE.COM"]),
    ],
)
def test_addresses_lead_where_they_say(text: str, found: list[str]) -> None:
    assert links(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "file:///etc/passwd",
        "https://xn--pple-43d.com/login",
        "https://аpple.com/login",
        "https://apple.com@evil.example/login",
        "https://apple.com\\@evil.example",
        "http://192.168.0.1/reboot",
        "http://0x7f.1/",
        "http://localhost:8080/",
        "http://printer/",
        "https://[::1]/",
        "https://exam\u202eple.com",
        "https://example.com:99999/",
        "http://",
    ],
)
def test_what_may_lead_elsewhere_stays_text(text: str) -> None:
    assert "<a" not in str(chat(text))
    assert not safe_link(text)


class Tags(HTMLParser):
    """Raises for what is not balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"strong", "em", "s", "q", "pre", "code", "ul", "ol", "li", "a"}
        assert {name for name, _ in attrs} <= {"href", "rel", "target", "value"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@given(st.text(alphabet="*_~`<>&\"' ab\n-1.:/htps", max_size=80) | st.text())
def test_chat_text_never_becomes_other_markup_and_loses_no_word(text: str) -> None:
    reader = Tags()
    reader.feed(str(chat(text)))
    reader.close()
    assert reader.open == []
    letters = re.sub(r"[^\w<&]", "", text)
    if "1" not in text and "_" not in text:
        assert re.sub(r"[^\w<&]", "", reader.words) == letters


def test_long_runs_of_marks_take_no_time() -> None:
    """A pattern that goes back over what it has read would take hours for any of these."""
    for mark in ("*", "_", "~", "`", ">", "```", "*_~", "- ", "https://", "*a", "a*"):
        assert len(chat(mark * 20_000)) >= 10_000
        assert len(chat(f"{mark} a" * 10_000)) >= 10_000


@pytest.mark.parametrize(
    ("text", "jumbo"),
    [
        ("👍", True),
        ("❤️ 🙏🏽", True),
        ("👩‍👩‍👧", True),
        ("🇦🇹", True),
        ("😀😀😀😀", False),
        ("ok 👍", False),
        ("", False),
        ("5", False),
    ],
)
def test_a_few_emoji_are_large(text: str, jumbo: bool) -> None:
    assert is_jumbo(text) is jumbo


def test_long_messages_are_folded() -> None:
    assert is_long("a" * 10_000)
    assert is_long("a\n" * 30)
    assert not is_long("a" * 1000)
