"""Checks the values that a template is filled in with, and carries them to the process that renders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from dragoman.bounded import reads_outside_text
from dragoman.rendering.templates import EmailTemplate, TemplateError, TemplateVariable, VariableKind

TEXT_LIMIT = 10_000
URL_LIMIT = 2_000
LIST_LIMIT = 1_000
LIST_TEXT_LIMIT = 200_000
"""Characters that all texts of one list may have together."""
FIELDS_LIMIT = 50
DIGITS_LIMIT = 30

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_HALF_PAIRS = re.compile("[\ud800-\udfff\x00]")
_URL = re.compile('https?://[^\x00-\x20\x7f-\xa0\u2028\u2029"<>\\\\^`{|}\ud800-\udfff]+', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MoneyAmount:
    """Is an amount in a currency, which is three letters as in ISO 4217."""

    amount: Decimal
    currency: str


class _UnfitValueError(Exception):
    """A value is not what its variable asks for; the message goes on after "The variable x "."""


def check_values(template: EmailTemplate, values: Mapping[str, object]) -> dict[str, Any]:
    """Give each declared variable its value, as Python's type for its kind.

    Takes the JSON forms and the Python types, so that what it returns can be checked again. An optional variable
    without value has its default, or None. Raises TemplateError, which names the variable.
    """
    declared = {variable.name: variable for variable in template.variables}
    for name in values:
        if name not in declared:
            shown = clean_text(str(name)[:60])
            raise TemplateError(f"The template has no variable {shown}.", variable=shown)
    return {name: _check_one(variable, values.get(name)) for name, variable in declared.items()}


def check_samples(template: EmailTemplate) -> list[TemplateError]:
    """Find the variables whose default or sample does not fit their kind."""
    faults = []
    for variable in template.variables:
        for what, value in (("default", variable.default), ("sample", variable.sample)):
            if value is None:
                continue
            try:
                _COERCIONS[variable.kind](value)
            except _UnfitValueError as error:
                message = f"The {what} of the variable {variable.name} does not fit: the value {error}."
                faults.append(TemplateError(message, variable=variable.name))
    return faults


def sample_values(template: EmailTemplate) -> dict[str, Any]:
    """Collect the values for a preview: each variable's sample, or its default where it has none."""
    chosen = {
        variable.name: variable.sample if variable.sample is not None else variable.default
        for variable in template.variables
    }
    return {name: value for name, value in chosen.items() if value is not None}


@reads_outside_text
def clean_text(text: str) -> str:
    """Replace what no email can hold: half surrogate pairs and NUL."""
    return _HALF_PAIRS.sub("\ufffd", text) if not text.isascii() or "\x00" in text else text


def _check_one(variable: TemplateVariable, value: object) -> Any:
    if value is None:
        value = variable.default
    if value is None:
        if variable.required:
            raise TemplateError(f"The variable {variable.name} has no value.", variable=variable.name)
        return None
    try:
        return _COERCIONS[variable.kind](value)
    except _UnfitValueError as error:
        raise TemplateError(f"The variable {variable.name} {error}.", variable=variable.name) from None


def _read_text(value: object) -> str:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return _write_plainly(_read_number(value))
    if not isinstance(value, str):
        raise _UnfitValueError("must be a text")
    if len(value) > TEXT_LIMIT:
        raise _UnfitValueError(f"must have {TEXT_LIMIT:,} characters at most")
    return clean_text(value)


def _read_number(value: object) -> int | Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise _UnfitValueError("must be a number")
    if isinstance(value, str) and len(value) > 2 * DIGITS_LIMIT:
        raise _UnfitValueError(f"must have {DIGITS_LIMIT} digits at most")
    if isinstance(value, int):
        # Compared, not written: what has thousands of digits cannot be written as a text.
        if abs(value) >= 10**DIGITS_LIMIT:
            raise _UnfitValueError(f"must have {DIGITS_LIMIT} digits at most")
        return int(value)
    try:
        number = Decimal(str(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise _UnfitValueError("must be a number") from None
    if not number.is_finite():
        raise _UnfitValueError("must be a finite number")
    if abs(number.adjusted()) >= DIGITS_LIMIT or len(number.as_tuple().digits) > DIGITS_LIMIT:
        raise _UnfitValueError(f"must have {DIGITS_LIMIT} digits at most")
    # Without exponents, so that it is written as people write it.
    return Decimal(format(number, "f"))


def _read_date(value: object) -> date:
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise _UnfitValueError("must be a date such as 2026-03-31") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _UnfitValueError("must be a date such as 2026-03-31")
    return date(value.year, value.month, value.day)


def _read_datetime(value: object) -> datetime:
    if isinstance(value, str) and len(value) <= 60:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise _UnfitValueError("must be a date and time such as 2026-03-31T14:30:00+02:00") from None
    if not isinstance(value, datetime):
        raise _UnfitValueError("must be a date and time such as 2026-03-31T14:30:00+02:00")
    if value.utcoffset() is None:
        raise _UnfitValueError("must say its offset from UTC, such as +02:00 or Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise _UnfitValueError("must be a date and time in the years 1 to 9999") from None


def _read_boolean(value: object) -> bool:
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _UnfitValueError("must be true or false")
    return value


def _read_url(value: object) -> str:
    if not isinstance(value, str):
        raise _UnfitValueError("must be a web address")
    if len(value) > URL_LIMIT:
        raise _UnfitValueError(f"must have {URL_LIMIT:,} characters at most")
    try:
        has_host = bool(urlsplit(value).hostname)
    except ValueError:
        has_host = False
    if not has_host or not _URL.fullmatch(value):
        raise _UnfitValueError("must be a web address that begins with https:// or http://")
    return value


def _read_list(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _UnfitValueError("must be a list")
    if len(value) > LIST_LIMIT:
        raise _UnfitValueError(f"must have {LIST_LIMIT:,} items at most")
    items: list[Any] = []
    size_chars = 0
    for item in value:
        if isinstance(item, Mapping):
            read, item_chars = _read_fields(item)
        else:
            read = _read_item(item)
            item_chars = _count_characters(read)
        size_chars += item_chars
        if size_chars > LIST_TEXT_LIMIT:
            raise _UnfitValueError(f"must have {LIST_TEXT_LIMIT:,} characters at most in all its items")
        items.append(read)
    return items


def _read_fields(item: Mapping[Any, object]) -> tuple[dict[str, Any], int]:
    if len(item) > FIELDS_LIMIT:
        raise _UnfitValueError(f"must have {FIELDS_LIMIT} fields in an item at most")
    fields: dict[str, Any] = {}
    size_chars = 0
    for name, field in item.items():
        if not isinstance(name, str) or not _FIELD.fullmatch(name):
            raise _UnfitValueError("must have items whose fields are named by letters, digits and underscores")
        fields[name] = _read_item(field)
        size_chars += len(name) + _count_characters(fields[name])
    return fields, size_chars


def _read_item(value: object) -> Any:  # noqa: PLR0911 - one for each kind
    """Read what may stand in a list or in a field of its items: any single value, or nothing."""
    match value:
        case None | bool():
            return value
        case str():
            return _read_text(value)
        case MoneyAmount():
            return _read_money(value)
        case datetime():
            return _read_datetime(value)
        case date():
            return _read_date(value)
        case int() | float() | Decimal():
            return _read_number(value)
        case {"amount": _, "currency": _}:
            return _read_money(value)
    raise _UnfitValueError("must have items that are texts, numbers, dates, amounts of money or objects of those")


def _read_money(value: object) -> MoneyAmount:
    if isinstance(value, Mapping) and value.keys() == {"amount", "currency"}:
        amount, currency = value["amount"], value["currency"]
    elif isinstance(value, MoneyAmount):
        amount, currency = value.amount, value.currency
    else:
        raise _UnfitValueError("must be an amount with its currency")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _UnfitValueError("must have a currency of three capital letters, such as EUR")
    return MoneyAmount(Decimal(_read_number(amount)), currency)


def _count_characters(value: object) -> int:
    return len(value) if isinstance(value, str) else 8


def _write_plainly(number: int | Decimal) -> str:
    return format(number, "f") if isinstance(number, Decimal) else str(number)


_COERCIONS: Mapping[VariableKind, Callable[[object], Any]] = {
    "text": _read_text,
    "number": _read_number,
    "date": _read_date,
    "datetime": _read_datetime,
    "boolean": _read_boolean,
    "url": _read_url,
    "list": _read_list,
    "money": _read_money,
}


def encode_value(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Write a checked value as JSON from which :func:`decode_value` makes the same."""
    match value:
        case Decimal():
            return {"number": str(value)}
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case MoneyAmount():
            return {"money": [str(value.amount), value.currency]}
        case list():
            return [encode_value(item) for item in value]
        case dict():
            return {"fields": {name: encode_value(field) for name, field in value.items()}}
    return value


def decode_value(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Read what :func:`encode_value` wrote."""
    match value:
        case list():
            return [decode_value(item) for item in value]
        case {"number": written}:
            return Decimal(written)
        case {"datetime": written}:
            return datetime.fromisoformat(written)
        case {"date": written}:
            return date.fromisoformat(written)
        case {"money": [amount, currency]}:
            return MoneyAmount(Decimal(amount), currency)
        case {"fields": fields}:
            return {name: decode_value(field) for name, field in fields.items()}
    return value
