"""The signature: what is signed, what is refused, and that the documented example is right."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dragoman.skills import verify_signature
from dragoman.skills.signing import SigningKey, new_key, signature_headers

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "http-skills.md"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BODY = b'{"skill":"a.b"}'
OLD, NEW = SigningKey("sk_1", "dsk_one"), SigningKey("sk_2", "dsk_two")


def test_a_receiver_with_either_key_trusts_the_request() -> None:
    headers = signature_headers(BODY, [OLD, NEW], now=NOW)
    for known in (["dsk_one"], ["dsk_two"], ["dsk_three", "dsk_two"]):
        assert verify_signature(headers, BODY, known, now=NOW)
    assert headers["Dragoman-Key-Id"] == "sk_1,sk_2"


def test_header_names_may_be_in_any_case() -> None:
    headers = signature_headers(BODY, [OLD], now=NOW)
    assert verify_signature({k.upper(): v for k, v in headers.items()}, BODY, ["dsk_one"], now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"Dragoman-Timestamp": str(int(NOW.timestamp()) + 1)},
        {"Dragoman-Timestamp": ""},
        {"Dragoman-Timestamp": "-1"},
        {"Dragoman-Timestamp": "١٧٧٢٤٤٢٠٠٠"},
        {"Dragoman-Timestamp": "9" * 500},
        {"Dragoman-Signature": ""},
        {"Dragoman-Signature": "v1="},
        {"Dragoman-Signature": "v2=" + "0" * 64},
        {"Dragoman-Signature": "ü" * 80},
        {"Dragoman-Signature": "v1=" + "0" * 2000},
    ],
)
def test_what_was_changed_on_the_way_is_refused(change: dict[str, str]) -> None:
    headers = {**signature_headers(BODY, [OLD], now=NOW), **change}
    assert not verify_signature(headers, BODY, ["dsk_one"], now=NOW)


def test_another_body_another_key_no_key_and_no_headers_are_refused() -> None:
    headers = signature_headers(BODY, [OLD], now=NOW)
    assert not verify_signature(headers, BODY + b"\n", ["dsk_one"], now=NOW)
    assert not verify_signature(headers, BODY, ["dsk_on"], now=NOW)
    assert not verify_signature(headers, BODY, [], now=NOW)
    assert not verify_signature(headers, BODY, [""], now=NOW)
    assert not verify_signature({}, BODY, ["dsk_one"], now=NOW)
    empty = signature_headers(BODY, [SigningKey("sk_0", "")], now=NOW)
    assert not verify_signature(empty, BODY, [""], now=NOW)


@pytest.mark.parametrize(("seconds", "trusted"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_a_request_is_trusted_for_five_minutes(seconds: int, trusted: bool) -> None:
    headers = signature_headers(BODY, [OLD], now=NOW)
    assert verify_signature(headers, BODY, ["dsk_one"], now=NOW + timedelta(seconds=seconds)) is trusted


def test_the_tolerance_is_the_receivers_choice() -> None:
    headers = signature_headers(BODY, [OLD], now=NOW)
    later = NOW + timedelta(seconds=20)
    assert not verify_signature(headers, BODY, ["dsk_one"], now=later, tolerance_seconds=10)


def test_keys_are_long_differ_and_hide() -> None:
    first, second = new_key(), new_key()
    assert first.secret != second.secret
    assert first.key_id != second.key_id
    assert len(first.secret) >= 43
    assert first.secret not in repr(first)


def test_the_documented_example_is_right() -> None:
    text = DOCUMENTED.read_text(encoding="utf-8")
    found = {
        name: re.search(rf"^{name} +(.+)$", text, re.MULTILINE) for name in ("key", "timestamp", "body", "signature")
    }
    key, stamp, body, signature = (match.group(1) if match else "" for match in found.values())
    headers = {"Dragoman-Timestamp": stamp, "Dragoman-Signature": f"v1={signature}"}
    now = datetime.fromtimestamp(int(stamp), UTC)
    assert verify_signature(headers, body.encode(), [key], now=now)
    assert (
        signature_headers(body.encode(), [SigningKey("any", key)], now=now)["Dragoman-Signature"] == f"v1={signature}"
    )
