"""Reads and runs templates: the small part of Jinja that an email needs, with limits that end in clear errors.

What is allowed is listed, not what is forbidden: filters, tests, attributes by type, and what can be called. Memory and
time are limited by the process that this runs in (:mod:`dragoman.rendering.child`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cache, lru_cache
from types import MethodType
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal
from jinja2 import StrictUndefined, Undefined, nodes, pass_environment
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.filters import FILTERS
from jinja2.meta import TrackingCodeGenerator
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from markupsafe import Markup, escape

from dragoman.rendering.templates import (
    PARTS,
    EmailTemplate,
    TemplateError,
    TemplatePart,
    find_size_fault,
)
from dragoman.rendering.values import MoneyAmount, check_samples, clean_text

RANGE_LIMIT = 1_000
VALUE_LIMIT = 1_000_000
"""Characters of a text, or items of a list, that multiplying may make."""
EXPONENT_LIMIT = 64
FORMAT_LIMIT = 60
DECIMALS_LIMIT = 10
MESSAGE_LIMIT = 200

FILTERS_OF_JINJA = """
    abs capitalize count d default e escape first float int join last length list lower max min replace reverse sort
    string sum title trim truncate unique upper urlencode wordcount wordwrap
""".split()  # noqa: SIM905 - words are read more easily without quotes
TESTS_OF_JINJA = """
    boolean defined divisibleby eq equalto even false ge gt in iterable le lt mapping ne none number odd sequence
    string true undefined == != > >= < <=
""".split()  # noqa: SIM905 - words are read more easily without quotes

_LOOP = frozenset(
    """
    changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)
_FORBIDDEN_TAGS: Mapping[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.ScopedEvalContextModifier: "autoescape",
    nodes.EvalContextModifier: "autoescape",
}


class TemplateRefusedError(Exception):
    """A template does what templates may not do; the message is a sentence for its author."""


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """Says for whom an email is written: dates and numbers are theirs."""

    locale: Locale
    zone: tzinfo

    @property
    def language_tag(self) -> str:
        """Write the locale as HTML wants it, such as ``pt-BR``."""
        return "-".join(filter(None, (self.locale.language, self.locale.script, self.locale.territory)))


@lru_cache(maxsize=256)
def find_reader_settings(locale: str, zone: str) -> ReaderSettings:
    """Find the settings by their names; a locale that is unknown is its language, or English. Raises TemplateError."""
    try:
        found_zone = ZoneInfo(zone)
    except (OSError, ValueError, KeyError):
        raise TemplateError(f"There is no time zone {clean_text(zone[:60])!r}.") from None
    return ReaderSettings(_find_locale(locale), found_zone)


def _find_locale(name: str) -> Locale:
    wanted = name.replace("-", "_").split("@")[0][:60]
    for tried in (wanted, wanted.split("_")[0]):
        try:
            return Locale.parse(tried)
        except (UnknownLocaleError, ValueError, TypeError, AttributeError):
            continue
    return Locale("en")


class _PlainCodeGenerator(CodeGenerator):
    """Computes nothing at compile time, so that only rendering needs limits, and errors have their lines."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


class _NameFinder(TrackingCodeGenerator):
    """Finds names that nothing declares, and computes nothing, since it runs where nothing is limited."""

    def __init__(self, environment: EmailEnvironment) -> None:
        super().__init__(environment)
        self.optimizer = None

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:  # noqa: ARG002
        raise nodes.Impossible


class EmailEnvironment(ImmutableSandboxedEnvironment):
    """Is Jinja as email templates know it. ``reader`` is set before each rendering."""

    code_generator_class = _PlainCodeGenerator
    # Every operator: what is intercepted is not computed at compile time either.
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self, *, escapes_html: bool) -> None:
        super().__init__(
            autoescape=escapes_html,
            undefined=StrictUndefined,
            finalize=_show,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
        )
        self.escapes_html = escapes_html
        self.reader = find_reader_settings("en", "UTC")
        self.globals = {"range": make_range}
        self.filters = {name: FILTERS[name] for name in FILTERS_OF_JINJA} | _FILTERS
        self.tests = {name: TESTS[name] for name in TESTS_OF_JINJA}

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow what a template defines itself, loops, and range; no method of any value."""
        if isinstance(obj, MethodType):
            return isinstance(obj.__self__, LoopContext) and obj.__name__ in {"cycle", "changed", "__call__"}
        return isinstance(obj, Macro | LoopContext) or obj is make_range

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Get what may be seen of *obj* by name; the same by a dot, by brackets and by filters."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Get an item of a list or a text, a field of an object, or what is listed for the type of *obj*."""
        match obj:
            case Undefined():
                return obj[argument]
            case dict() if isinstance(argument, str):
                return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
            case str() | list() | tuple() | range() if isinstance(argument, int | slice):
                try:
                    return obj[argument]
                except IndexError:
                    return self.undefined(f"The list has no item {argument}", obj=obj, name=str(argument))
        name = str(argument)
        if name in _allowed_attributes(type(obj)):
            return getattr(obj, name)
        raise TemplateRefusedError(f"Templates may not use {_shorten(name)} of a {_kind_name(obj)}.")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call *__obj* if it may be called; the names are Jinja's, so that a macro can have any argument."""
        if isinstance(__obj, Undefined):
            # What is undefined says so itself, with its name.
            str(__obj)
        if not __self.is_safe_callable(__obj):
            raise TemplateRefusedError(f"A {_kind_name(__obj)} cannot be called.")
        return __context.call(__obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute *left* and *right*, if the result cannot be endless."""
        if operator == "*":
            for sequence, factor in ((left, right), (right, left)):
                is_repeated = isinstance(sequence, str | list | tuple) and isinstance(factor, int)
                if is_repeated and len(sequence) * factor > VALUE_LIMIT:
                    raise TemplateRefusedError("The result of * is too long.")
        elif operator == "**":
            if not all(isinstance(side, int | float | Decimal) for side in (left, right)):
                raise TemplateRefusedError("Only numbers can be raised to a power.")
            if abs(right) > EXPONENT_LIMIT or abs(left) > VALUE_LIMIT:
                raise TemplateRefusedError("The result of ** is too large.")
        elif operator == "%" and isinstance(left, str):
            raise TemplateRefusedError("Texts cannot be formatted by %.")
        if isinstance(left, Decimal) and isinstance(right, float):
            right = Decimal(str(right))
        elif isinstance(right, Decimal) and isinstance(left, float):
            left = Decimal(str(left))
        return super().call_binop(context, operator, left, right)


@cache
def environment_for(part: TemplatePart) -> EmailEnvironment:
    """Find the environment of a part: HTML is escaped, subject and text are not. Each is made once."""
    return EmailEnvironment(escapes_html=part == "html")


def _allowed_attributes(kind: type) -> frozenset[str]:
    if issubclass(kind, LoopContext):
        return _LOOP
    if issubclass(kind, MoneyAmount):
        return frozenset({"amount", "currency"})
    if issubclass(kind, datetime):
        return frozenset({"year", "month", "day", "hour", "minute", "second"})
    if issubclass(kind, date):
        return frozenset({"year", "month", "day"})
    return frozenset()


def _kind_name(value: Any) -> str:
    names: Mapping[type, str] = {
        str: "text",
        bool: "boolean",
        int: "number",
        float: "number",
        Decimal: "number",
        list: "list",
        tuple: "list",
        dict: "object",
        datetime: "date and time",
        date: "date",
        MoneyAmount: "amount of money",
        Macro: "macro",
        LoopContext: "loop",
    }
    return next((name for kind, name in names.items() if isinstance(value, kind)), "value")


def _shorten(text: str) -> str:
    return " ".join(clean_text(text[:MESSAGE_LIMIT]).split())


def make_range(*limits: int) -> range:
    """Make the numbers of a loop, as many as a template may have. Raises TemplateRefusedError."""
    numbers = range(*limits)
    try:
        is_short = len(numbers) <= RANGE_LIMIT
    except OverflowError:
        is_short = False
    if not is_short:
        raise TemplateRefusedError(f"A range may have {RANGE_LIMIT:,} numbers at most.")
    return numbers


@pass_environment
def _show(environment: EmailEnvironment, value: Any) -> Any:
    """Write a value where the template names it alone, in the reader's way; what is no text for people is refused."""
    match value:
        case None:
            return ""
        case str() | bool() | int() | float() | Undefined():
            return value
        case Decimal():
            return format(value, "f") if abs(value.adjusted()) < VALUE_LIMIT else str(value)
        case datetime():
            return _format_datetime(environment, value)
        case date():
            return _format_date(environment, value)
        case MoneyAmount():
            return _format_money(environment, value)
        case list() | tuple() | dict():
            raise TemplateRefusedError(
                "A list or an object cannot be written as it is: use a loop, a field or the filter join."
            )
    raise TemplateRefusedError(f"A {_kind_name(value)} cannot be written.")


def _read_format(style: Any) -> str:
    if not isinstance(style, str) or len(style) > FORMAT_LIMIT:
        raise TemplateRefusedError(f"The format of a date must be a text of {FORMAT_LIMIT} characters at most.")
    return style


def _read_moment(value: Any) -> Any:
    """Read dates in ISO's form too, since the items of lists may have them."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value) if len(value) == len("2026-03-31") else datetime.fromisoformat(value)
        except ValueError:
            raise TemplateRefusedError("The text is not a date such as 2026-03-31.") from None
    return value


def _to_zone(environment: EmailEnvironment, value: datetime) -> datetime:
    return value.astimezone(environment.reader.zone) if value.tzinfo is not None else value


@pass_environment
def _format_date(environment: EmailEnvironment, value: Any, style: Any = "medium") -> str:
    value = _read_moment(value)
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = _to_zone(environment, value).date()
    if not isinstance(value, date):
        raise TemplateRefusedError("Only dates can be written by the filter date.")
    return format_date(value, _read_format(style), locale=environment.reader.locale)


@pass_environment
def _format_datetime(environment: EmailEnvironment, value: Any, style: Any = "medium") -> str:
    value = _read_moment(value)
    if value is None:
        return ""
    if not isinstance(value, datetime):
        raise TemplateRefusedError("Only a date and time can be written by the filter datetime.")
    reader = environment.reader
    return format_datetime(value, _read_format(style), tzinfo=reader.zone, locale=reader.locale)


@pass_environment
def _format_time(environment: EmailEnvironment, value: Any, style: Any = "short") -> str:
    value = _read_moment(value)
    if value is None:
        return ""
    if not isinstance(value, datetime):
        raise TemplateRefusedError("Only a date and time can be written by the filter time.")
    local: time | datetime = _to_zone(environment, value)
    return format_time(local, _read_format(style), tzinfo=environment.reader.zone, locale=environment.reader.locale)


def _read_decimal(value: Any) -> Decimal:
    try:
        number = Decimal(str(value)) if isinstance(value, float | str) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise TemplateRefusedError("Only numbers can be written as numbers.") from None
    if not number.is_finite() or abs(number.adjusted()) > MESSAGE_LIMIT:
        raise TemplateRefusedError("The number is too large to be written.")
    return number


@pass_environment
def _format_money(environment: EmailEnvironment, value: Any, currency: Any = None) -> str:
    if value is None:
        return ""
    if isinstance(value, MoneyAmount):
        value, currency = value.amount, value.currency
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise TemplateRefusedError("The filter money needs a currency for a number, such as money('EUR').")
    return format_currency(_read_decimal(value), currency, locale=environment.reader.locale)


def _read_decimals(decimals: Any) -> int:
    if not isinstance(decimals, int) or not 0 <= decimals <= DECIMALS_LIMIT:
        raise TemplateRefusedError(f"A number may have 0 to {DECIMALS_LIMIT} decimals.")
    return int(decimals)


@pass_environment
def _format_number(environment: EmailEnvironment, value: Any, decimals: Any = None) -> str:
    if value is None:
        return ""
    number = _read_decimal(value)
    if decimals is None:
        return format_decimal(number, locale=environment.reader.locale)
    places = _read_decimals(decimals)
    pattern = "#,##0" + ("." + "0" * places if places else "")
    return format_decimal(number, format=pattern, locale=environment.reader.locale)


def _round(value: Any, decimals: Any = 0) -> int | Decimal:
    """Round half up, as people do, and without the errors of binary fractions."""
    number = _read_decimal(value)
    places = _read_decimals(decimals)
    try:
        rounded = number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    except InvalidOperation:
        raise TemplateRefusedError("The number is too large to be rounded.") from None
    return rounded if places else int(rounded)


def _choose_default(value: Any, otherwise: Any = "", if_empty: bool = False) -> Any:
    """Take *otherwise* for what is not defined, and for an optional variable without value."""
    is_missing = isinstance(value, Undefined) or value is None
    return otherwise if is_missing or (if_empty and not value) else value


@pass_environment
def _break_lines(environment: EmailEnvironment, value: Any) -> str:
    """Break lines in HTML where the text has line breaks."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    if not environment.escapes_html:
        return text
    return Markup("<br>\n").join(escape(line) for line in text.splitlines())


_FILTERS: dict[str, Callable[..., Any]] = {
    "date": _format_date,
    "datetime": _format_datetime,
    "time": _format_time,
    "money": _format_money,
    "number": _format_number,
    "round": _round,
    "default": _choose_default,
    "d": _choose_default,
    "nl2br": _break_lines,
}


def check_template(template: EmailTemplate) -> list[TemplateError]:
    """Find what is wrong with a template before it is saved; never raises, and runs none of it.

    Reading two long bodies takes a good part of a second: ``TemplateRenderer.check`` does it in the child.
    """
    if (fault := find_size_fault(template)) is not None:
        return [fault]
    declared = frozenset(variable.name for variable in template.variables)
    faults = check_samples(template)
    for part in PARTS:
        source: str | None = getattr(template, part)
        if source is not None:
            faults += _check_source(part, source, declared)
    return faults


def _check_source(part: TemplatePart, source: str, declared: frozenset[str]) -> list[TemplateError]:
    environment = environment_for(part)
    try:
        tree = environment.parse(clean_text(source))
        faults = list(find_forbidden(tree, part))
        return faults or list(_find_undeclared(environment, tree, part, declared))
    except Exception as error:
        # Whatever its parser does not like: what nests too deeply, numbers of thousands of digits.
        return [explain_error(error, part)]


def find_forbidden(tree: nodes.Template, part: TemplatePart) -> Iterator[TemplateError]:
    """Find what email templates do not have, though Jinja has it."""
    environment = environment_for(part)
    # Not find_all, which would be recursive for each node: this walk is by our own stack.
    waiting: list[nodes.Node] = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(reversed(list(node.iter_child_nodes())))
        if (message := _find_fault(environment, node)) is not None:
            yield TemplateError(message, node.lineno, part)


def _find_fault(environment: EmailEnvironment, node: nodes.Node) -> str | None:  # noqa: PLR0911 - one for each kind
    if (tag := _FORBIDDEN_TAGS.get(type(node))) is not None:
        return f"The tag {tag} is not available in email templates."
    match node:
        case nodes.Filter(name=name) if name not in environment.filters:
            return f"There is no filter {_shorten(name)}."
        case nodes.Test(name=name) if name not in environment.tests:
            return f"There is no test {_shorten(name)}."
        case nodes.Name(name=name) if name in {"self", "super", "varargs", "kwargs"}:
            return f"The name {_shorten(name)} is not available in email templates."
        case nodes.Getattr(attr=name) if name.startswith("_"):
            return f"Templates may not use {_shorten(name)}."
        case nodes.Getitem(arg=nodes.Const(value=str(name))) if name.startswith("_"):
            return f"Templates may not use {_shorten(name)}."
    return None


def _find_undeclared(
    environment: EmailEnvironment, tree: nodes.Template, part: TemplatePart, declared: frozenset[str]
) -> Iterable[TemplateError]:
    finder = _NameFinder(environment)
    finder.visit(tree)
    undeclared = finder.undeclared_identifiers - declared
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in undeclared and node.ctx == "load":
            lines[node.name] = min(node.lineno, lines.get(node.name, node.lineno))
    for name in sorted(undeclared, key=lambda name: (lines.get(name, 0), name)):
        yield TemplateError(f"The template has no variable {_shorten(name)}.", lines.get(name), part)


def explain_error(error: BaseException, part: TemplatePart | None) -> TemplateError:
    """Say in one sentence what went wrong with a template, and in which line if that is known."""
    if isinstance(error, TemplateError):
        return TemplateError(error.message, error.line, error.part or part, error.variable)
    line = error.lineno if isinstance(error, TemplateSyntaxError) else _find_line(error)
    return TemplateError(_describe_error(error), line, part)


def _describe_error(error: BaseException) -> str:  # noqa: PLR0911 - one for each kind
    said = _shorten(str(error).rstrip("."))
    match error:
        case TemplateRefusedError():
            return str(error)
        case TemplateSyntaxError():
            return f"The template is not well-formed: {said}."
        case UndefinedError():
            name = said.removesuffix(" is undefined").strip("'")
            if said == f"'{name}' is undefined":
                return f"The template has no variable {name}."
            return f"The template uses something that is not there: {said}."
        case SecurityError():
            return f"The template does what templates may not do: {said}."
        case RecursionError():
            return "The template nests or calls itself too deeply."
        case MemoryError():
            return "The template needs too much memory."
        case ZeroDivisionError():
            return "The template divides by zero."
        case ArithmeticError():
            return "The template computes a number that is too large."
        case SyntaxError():
            return "The template is too deeply nested."
    # What Python says may have a contact's words in it, so that only the kind of error is told.
    if isinstance(error, TypeError):
        return f"A value is of the wrong kind for what the template does with it: {said}."
    return f"The template cannot be computed ({type(error).__name__})."


def _find_line(error: BaseException) -> int | None:
    """Find the line of the template: Jinja puts it into the traceback, under the name of the template's file."""
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == "<template>":
            line = step.tb_lineno
        step = step.tb_next
    return line
