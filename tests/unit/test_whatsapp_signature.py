"""The signature: RFC 4231's example keys its HMAC, and nothing but the exact bytes passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.channels.whatsapp.signature import sign, verify

# RFC 4231, test case 2.
RFC_KEY, RFC_DATA = "Jefe", b"what do ya want for nothing?"
RFC_DIGEST = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_it_is_hmac_sha256_in_hex() -> None:
    assert sign(RFC_DATA, RFC_KEY) == f"sha256={RFC_DIGEST}"
    assert verify(RFC_DATA, f"sha256={RFC_DIGEST}", RFC_KEY)


@given(body=st.binary(), secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_was_signed_verifies(body: bytes, secret: str) -> None:
    assert verify(body, sign(body, secret), secret)
    assert not verify(body + b" ", sign(body, secret), secret)
    assert not verify(body, sign(body, secret), secret + "x")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        "sha256",
        RFC_DIGEST,
        f"sha1={RFC_DIGEST}",
        f"sha256={RFC_DIGEST[:-1]}",
        f"sha256={RFC_DIGEST}0",
        f"sha256={'é' * 64}",
        "sha256=" + "0" * 64,
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    assert not verify(RFC_DATA, header, RFC_KEY)


def test_an_empty_secret_signs_nothing() -> None:
    assert not verify(RFC_DATA, sign(RFC_DATA, ""), "")
