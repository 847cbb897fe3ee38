"""How values are written on the pages: times in the reader's zone, durations, money, phone numbers, sizes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_skeleton
from babel.numbers import get_decimal_symbol
from markupsafe import Markup, escape

from dragoman.bounded import reads_outside_text
from dragoman.dispatch.texts import LANGUAGES
from dragoman.domain import plain_text, text_values
from dragoman.numbering import parts
from dragoman.translations import SOURCE_LANGUAGE, reader_language
from dragoman.translations import gettext as _


@dataclass(frozen=True, slots=True)
class Times:
    """Writes points in time for one reader; ``now`` is the clock's reading for this page.

    What is short for the eye stands in a ``<time>`` whose title is :meth:`full`. On paper nobody sees a title:
    ``on_paper`` makes every form the full one.
    """

    zone: tzinfo
    zone_name: str
    now: datetime
    on_paper: bool = False

    @classmethod
    def for_zone(cls, name: str, now: datetime) -> Times:
        """In the zone of that IANA name; in UTC where this machine does not know it."""
        try:
            return cls(ZoneInfo(name), name, now)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return cls(UTC, "UTC", now)

    def local(self, at: datetime) -> datetime:
        """Put *at* in the reader's zone."""
        return at.astimezone(self.zone)

    def full(self, at: datetime) -> str:
        """Write date with year, time to the second and zone: what may be quoted."""
        local = self.local(at)
        return f"{_date(local)}, {local:%H:%M:%S}{_which_hour(local)} {self.zone_name}"

    def dated(self, at: datetime) -> str:
        """Write date with year and time to the second, where something above it says the zone."""
        local = self.local(at)
        return f"{local:%Y-%m-%d %H:%M:%S}{_which_hour(local)}"

    def asked(self, text: str) -> str:
        """Write a filter's day or moment as it is read for this reader; what is neither stays as it is."""
        try:
            if text_values.is_day(text):
                day = date.fromisoformat(text)
                return f"{_date(day)} ({self.zone_name})"
            if text_values.is_minute(text):
                at = datetime.fromisoformat(text)
                return f"{_date(at)}, {at:%H:%M} ({self.zone_name})"
            return self.full(text_values.moment(text))
        except (ValueError, OverflowError):
            return text

    def in_form(self, text: str) -> str:
        """Write a filter's exact moment by this reader's clock, with its distance from UTC; a day stays as it is."""
        try:
            return text if text_values.is_day(text) else self.local(text_values.moment(text)).isoformat()
        except (ValueError, OverflowError):
            return text

    def clock(self, at: datetime) -> str:
        """Write hours and minutes."""
        return self.full(at) if self.on_paper else f"{self.local(at):%H:%M}"

    def seconds(self, at: datetime) -> str:
        """Write hours, minutes and seconds."""
        return self.full(at) if self.on_paper else f"{self.local(at):%H:%M:%S}"

    def milliseconds(self, at: datetime) -> str:
        """Write hours, minutes, seconds and milliseconds; on paper between date and zone."""
        local = self.local(at)
        clock = f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"
        return f"{_date(local)}, {clock}{_which_hour(local)} {self.zone_name}" if self.on_paper else clock

    def moment(self, at: datetime) -> str:
        """Write date with year and time to the second; the page names its zone once."""
        if self.on_paper:
            return self.full(at)
        local = self.local(at)
        return f"{_date(local)}, {local:%H:%M:%S}{_which_hour(local)}"

    def date(self, at: datetime) -> str:
        """Write day, month and year."""
        if self.on_paper:
            return self.full(at)
        return _date(self.local(at))

    def minute(self, at: datetime) -> str:
        """Write weekday, day and minute, as one says when something was written; the year where it is not this one."""
        if self.on_paper:
            return self.full(at)
        local = self.local(at)
        this_year = local.year == self.local(self.now).year
        english = f"{local:%a} {local.day} {local:%b}{'' if this_year else f' {local.year}'}"
        day = _written("MMMEd" if this_year else "yMMMEd", local, english)
        return f"{day}{' ' if reader_language() == SOURCE_LANGUAGE else ', '}{local:%H:%M}"

    def short(self, at: datetime) -> str:
        """Write the time today, the date before."""
        if self.on_paper:
            return self.full(at)
        local, today = self.local(at), self.local(self.now)
        if local.date() == today.date():
            return f"{local:%H:%M}"
        if local.year == today.year:
            return f"{day_and_month(local)}, {local:%H:%M}"
        return _date(local)

    def day(self, at: datetime) -> str:
        """Write the day in words, with its year."""
        local, today = self.local(at).date(), self.local(self.now).date()
        name = _written("yMMMMd", local, f"{local.day} {local:%B} {local.year}")
        if self.on_paper:
            return name
        if local == today:
            return _("Today, %(date)s", date=name)
        if local == today - timedelta(days=1):
            return _("Yesterday, %(date)s", date=name)
        return name

    def ago(self, at: datetime) -> str:
        """Write how long before now, in its largest unit; the date of what is older than a day."""
        if self.on_paper:
            return self.full(at)
        elapsed = (self.now - at).total_seconds()
        if elapsed < 5:
            return _("now")
        if elapsed < 24 * 3600:
            return _("%(duration)s ago", duration=rough_duration(elapsed))
        return self.short(at)


def _written(skeleton: str, at: date, english: str) -> str:
    """Write the day of *at* in its own zone: *english*, or for others the parts of *skeleton* (CLDR) in their order."""
    if reader_language() == SOURCE_LANGUAGE:
        return english
    return format_skeleton(skeleton, date(at.year, at.month, at.day), locale=reader_language())


def _date(at: date) -> str:
    return _written("yMMMd", at, f"{at.day} {at:%b %Y}")


def day_and_month(at: date) -> str:
    """Write the day without its year, such as "23 Nov"."""
    return _written("MMMd", at, f"{at.day} {at:%b}")


def weekday(at: date) -> str:
    """Write the short name of the day, such as "Mon"."""
    return _written("E", at, f"{at:%a}")


def decimals(written: str) -> str:
    """Write the point of a number as the reader writes it."""
    if reader_language() == SOURCE_LANGUAGE:
        return written
    return written.replace(".", get_decimal_symbol(reader_language()))


def _which_hour(local: datetime) -> str:
    """How far it is from UTC, in the hour that comes twice when the clocks go back."""
    if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
        return ""
    return f" (UTC{local.isoformat()[-6:]})"


_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units, such as "4 d 17 h"; below a minute with two decimals."""
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 60:
        # 59.999 s is not yet a minute.
        return decimals(f"{min(round(seconds, 2), 59.99):g} s")
    whole = int(seconds)
    (size, unit), (smaller, smaller_unit) = next(pair for pair in pairwise(_UNITS) if whole >= pair[0][0])
    rest = whole % size // smaller
    return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")


def rough_duration(seconds: float) -> str:
    """Write a length of time in its largest unit, for what is as old as that."""
    return " ".join(duration(int(max(seconds, 0.0))).split()[:2])


def elapsed_s(since: datetime, until: datetime | None, now: datetime) -> float:
    """How many seconds something has lasted: up to its end, or up to *now* while it goes on."""
    return max(((until or now) - since).total_seconds(), 0.0)


def milliseconds(value: object) -> str:
    """A measured duration as events hold it; a dash for what is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–"
    return decimals(f"{value:.1f} ms") if value < 10 else duration(value / 1000)


def since_start(seconds: float) -> str:
    """Write how long after the start of something, to the millisecond below a minute."""
    return decimals(f"+{seconds:.3f} s") if seconds < 60 else f"+{duration(seconds)}"


def language(tag: object) -> str:
    """A language tag as the reader names it, such as "German" for ``de``; what is none stays as it is."""
    try:
        return Locale.parse(str(tag).replace("-", "_")).get_display_name(reader_language()) or str(tag)
    except (ValueError, UnknownLocaleError):
        return str(tag)


def bot_languages() -> dict[str, str]:
    """The languages that Dragoman speaks itself, by their tags, as the reader names them."""
    return {tag: language(tag) for tag in LANGUAGES}


def json_document(text: str) -> str:
    """A JSON document as people read it, or *text* as it is where it is none."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def percent(value: object) -> str:
    """A share between 0 and 1 as a percentage; a dash for what is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–"
    shown = value * 100
    return decimals(f"{shown:.1f} %") if shown < 10 or shown > 99 else f"{shown:.0f} %"


def money(micros: int, currency: str) -> str:
    """Write millionths of *currency* with all their digits, so that parts add up; two places at least."""
    whole, rest = divmod(abs(micros), 1_000_000)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{decimals(f'{whole}.{places}')} {currency}"


@reads_outside_text
def phone(number: str) -> Markup:
    """An E.164 number, spaced for the eye only: copied, searched and read out it is the number as it is."""
    if not re.fullmatch(r"\+[0-9]{6,15}", number):
        return Markup('<span class="tel">{}</span>').format(number)
    code, *groups = parts(number)
    spaced = Markup("").join(Markup("<span>{}</span>").format(group) for group in groups)
    return Markup('<span class="tel">+{}{}</span>').format(code, spaced)


def size(count: int) -> str:
    """A number of bytes in the unit that fits."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return decimals(f"{count / 1_000_000:.1f} MB")


def playtime(seconds: float) -> str:
    """How long sound or film plays, as players write it."""
    whole = max(1, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def contact_label(name: str | None, phone: str | None, username: str | None = None) -> str:
    """What a contact is called where a name stands, as :func:`plain_text.contact_label`, for the reader."""
    label = plain_text.contact_label(name, phone, username)
    return _("Unknown contact") if label == plain_text.UNKNOWN_CONTACT else label


@reads_outside_text
def person(name: str) -> Markup:
    """A name from outside as it stands among words: set apart, so that it turns no words but its own (UAX 9)."""
    return Markup("<bdi>{}</bdi>").format(plain_text.without_isolates(name))


_NAMED = re.compile(r"<bdi>([^<]*)</bdi>")
_OTHER_TAG = re.compile(r"<(?!/?bdi>)[^<>]*>")


@reads_outside_text
def names_only(sentence: Markup) -> Markup:
    """The sentence in one line without its marks, but for those that set names apart."""
    return Markup(" ".join(_OTHER_TAG.sub("", sentence).split()))  # noqa: S704 - what stood there was escaped


@reads_outside_text
def in_plain_text(sentence: Markup) -> str:
    """Write the sentence without marks, its names set apart by characters."""

    def apart(found: re.Match[str]) -> str:
        return escape(plain_text.isolated(Markup(found[1]).unescape()))  # noqa: S704 - was escaped

    return Markup(_NAMED.sub(apart, sentence)).striptags()  # noqa: S704 - as above


_TURNING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@reads_outside_text
def strip_bidi_controls(name: str) -> str:
    """A file's name with a mark for each character that would show it otherwise than it is (``exe.gpj``)."""
    return _TURNING.sub("\N{REPLACEMENT CHARACTER}", name)
