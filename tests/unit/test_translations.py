"""Catalogues: what each must keep of its texts, which language is written, and what is translated when."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po
from markupsafe import Markup

from dragoman import translations
from dragoman.translations import (
    best_language,
    deferred,
    deferred_n,
    gettext,
    language_name,
    markup,
    ngettext,
    number,
    pgettext,
    script_texts,
    translated,
    written_in,
)

CATALOGUES = sorted(translations.PLACE.glob("*/*.po"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in CATALOGUES]

PLACES = re.compile(r"%\((\w+)\)s|%%|\$\{?(\w+)")
NUMBER = {"%(count)s", "$count"}
"""In the form for one thing the number may be a word."""
TAG = re.compile(r"</?[a-z][^<>]*>")


WRITTEN_OTHERWISE = {
    "’": re.compile(r"\w'(?:\w|\s|$)"),
    "ID, but for a parameter's name": re.compile(r"\bids?\b(?!:)"),
    "email, but for mail server and mail program": re.compile(r"\bmails?\b(?! server| program|\.\w)", re.IGNORECASE),
}
"""How the console writes what can be written in two ways, and the other way."""


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name, abort_invalid=True)


def forms(message: Message) -> Iterator[tuple[str, str]]:
    """Each translation with the English that it stands for; of a count the form for many."""
    if isinstance(message.string, str):
        yield str(message.id), message.string
    else:
        yield from ((message.id[-1], each or "") for each in message.string or ())


def translations_in(path: Path) -> list[tuple[str, str]]:
    """Every English text of the catalogue with what it became; what is not translated is left out."""
    return [pair for message in read(path) if message.id for pair in forms(message) if pair[1]]


def places(text: str) -> Counter[str]:
    return Counter(found[0] for found in PLACES.finditer(text))


def test_the_console_and_the_bot_are_there_in_other_languages() -> None:
    assert translations.languages("console")[0] == translations.languages("bot")[0] == "en"
    assert {"de", "pt"} <= set(translations.languages("console")) <= set(translations.languages("bot"))


@pytest.mark.parametrize("path", CATALOGUES, ids=NAMES)
def test_what_gettext_itself_knows_of_is_right(path: Path) -> None:
    catalogue = read(path)
    found = {str(message.id)[:60]: errors for message in catalogue if (errors := list(message.check(catalogue)))}
    assert found == {}


@pytest.mark.parametrize("path", CATALOGUES, ids=NAMES)
def test_no_translation_loses_or_invents_a_place(path: Path) -> None:
    wrong = [
        (english, said)
        for english, said in translations_in(path)
        if set(places(said)) - NUMBER != set(places(english)) - NUMBER
    ]
    assert wrong == []


@pytest.mark.parametrize("path", CATALOGUES, ids=NAMES)
def test_a_translation_has_the_tags_of_its_text_and_no_others(path: Path) -> None:
    wrong = [
        (english, said)
        for english, said in translations_in(path)
        if Counter(TAG.findall(said)) != Counter(TAG.findall(english))
    ]
    assert wrong == []


@pytest.mark.parametrize("path", CATALOGUES, ids=NAMES)
def test_a_translation_begins_and_ends_as_its_text_does(path: Path) -> None:
    wrong = [
        (english, said)
        for english, said in translations_in(path)
        if (
            (said[0].isspace(), said[-1].isspace()) != (english[0].isspace(), english[-1].isspace())
            # An abbreviation may be none elsewhere.
            or (len(english) > 4 and english.endswith((".", "…", "?")) != said.endswith((".", "…", "?")))
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("domain", ["console", "bot"])
def test_german_and_portuguese_lack_nothing(domain: str) -> None:
    with (translations.PLACE / f"{domain}.pot").open("rb") as file:
        template = {message.id for message in read_po(file) if message.id}
    for language in ("de", "pt"):
        catalogue = read(translations.PLACE / language / f"{domain}.po")
        there = {message.id for message in catalogue if message.id and all(said for _, said in forms(message))}
        assert template - there == set(), language


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "", "en"),
        ("de", "pt", "de"),
        ("xx", "pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("", "de-AT, en;q=0.9", "de"),
        ("", "en-GB,de;q=0.9", "en"),
        ("", "nl, de;q=0.4, pt;q=0.7", "pt"),
        ("", "de;q=0, pt;q=0.1", "pt"),
        ("", "ja,zh", "en"),
        ("", "*", "en"),
        ("../../de", "", "en"),
        ("", ";q=x,,de;q=high," + "é;" * 4000, "en"),
    ],
)
def test_the_reader_is_written_to_in(chosen: str, accepted: str, language: str) -> None:
    assert best_language(chosen, accepted) == language


@pytest.fixture
def esperanto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small catalogue of the console, which writes one text of each kind."""
    catalogue = Catalog(locale="eo", fuzzy=False)
    catalogue.add("Save", "Konservi")
    catalogue.add("Open", "Malfermi")
    catalogue.add("Open", "Malferma", context="state")
    catalogue.add("By <b>%(name)s</b>", "De <b>%(name)s</b>")
    catalogue.add("At most %(most)s, not %(what)s", "Ne %(what)s, maksimume %(most)s")
    catalogue.add(("%(count)s event", "%(count)s events"), ("%(count)s evento", "%(count)s eventoj"))
    catalogue.add("Link copied", "Ligilo kopiita", locations=[("frontend/src/preferences.js", 1)])
    (tmp_path / "eo").mkdir()
    with (tmp_path / "eo" / "console.po").open("wb") as file:
        write_po(file, catalogue)
    monkeypatch.setattr(translations, "PLACE", tmp_path)
    for cached in (translations.languages, translations.catalogue, translations.script_texts):
        cached.cache_clear()
    with written_in("eo"):
        yield
    monkeypatch.undo()
    for cached in (translations.languages, translations.catalogue, translations.script_texts):
        cached.cache_clear()


@pytest.mark.usefixtures("esperanto")
def test_texts_are_those_of_the_readers_language() -> None:
    assert gettext("Save") == "Konservi"
    assert gettext("Not there, 100 %%") == "Not there, 100 %"
    assert (gettext("Open"), pgettext("state", "Open")) == ("Malfermi", "Malferma")
    assert ngettext("%(count)s event", "%(count)s events", 1) == "1 evento"
    assert ngettext("%(count)s event", "%(count)s events", 1200) == f"{number(1200)} eventoj"
    assert markup("By <b>%(name)s</b>", name="<i>") == Markup("De <b>&lt;i&gt;</b>")
    assert script_texts("eo") == {"Link copied": ["Ligilo kopiita"]}
    with written_in("en"):
        assert gettext("Save") == "Save"
        assert number(1200) == "1,200"
        assert script_texts("en") == {}


@pytest.mark.usefixtures("esperanto")
def test_what_was_made_before_it_was_known_who_reads_is_english_until_it_is_written() -> None:
    name = deferred("Save")
    refusal = deferred("At most %(most)s, not %(what)s", most=3, what=name)
    counted = deferred_n("%(count)s event", "%(count)s events", 2)
    # Recorded, logged or sent to a program it is a text like any other.
    assert (str(name), f"{refusal}", str(counted)) == ("Save", "At most 3, not Save", "2 events")
    assert (translated(name), translated(refusal), translated(counted)) == (
        "Konservi",
        "Ne Konservi, maksimume 3",
        "2 eventoj",
    )
    assert gettext("At most %(most)s, not %(what)s", most=1, what=name) == "Ne Konservi, maksimume 1"
    assert translated("any other text") == "any other text"


def test_a_language_is_offered_by_its_own_name() -> None:
    assert [language_name(each) for each in ("en", "de", "pt")] == ["English", "Deutsch", "Português"]


@pytest.mark.parametrize("written", WRITTEN_OTHERWISE)
def test_the_console_writes_one_thing_in_one_way(written: str) -> None:
    forms = [
        form
        for message in read(translations.PLACE / "console.pot")
        for form in ([message.id] if isinstance(message.id, str) else message.id)
    ]
    otherwise = {form for form in forms if WRITTEN_OTHERWISE[written].search(PLACES.sub("", TAG.sub("", form)))}
    assert otherwise == set()
