"""The bytes that docs/trust.md describes are the bytes that are written; trees are those of RFC 9162."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain import storable
from dragoman.ledger import merkle, seal
from dragoman.ledger.checkpoint import FIRST_PREVIOUS, Header, Leaf, Signed, parse, public_bytes

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "trust.md"

SESSION = UUID("0193f2a0-0000-7000-8000-000000000001")
DISPATCH = UUID("0193f2a0-0000-7000-8000-000000000002")
TENANT = UUID("0193f2a0-0000-7000-8000-000000000003")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def vectors() -> dict[str, str]:
    """What the document gives: fenced blocks, each under the name that stands in its first line."""
    blocks = re.findall(r"```(?:json|text) ([a-z0-9-]+)\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    return dict(blocks)


def test_the_vectors_of_the_document() -> None:
    given_ = vectors()
    first = seal.canonical(
        session_id=SESSION,
        position=1,
        at=datetime(2026, 11, 26, 9, 30, tzinfo=timezone(timedelta(hours=1))),
        type="session.opened",
        schema_version=1,
        actor_kind="dispatcher",
        actor_name="",
        dispatch_id=DISPATCH,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        payload={"channel": "whatsapp"},
    )
    second = seal.canonical(
        session_id=SESSION,
        position=2,
        at=datetime(2026, 11, 26, 8, 30, 1, 250, tzinfo=UTC),
        type="session.resolved",
        schema_version=1,
        actor_kind="agent",
        actor_name="Zoë",
        dispatch_id=None,
        trace_id=None,
        payload={"reason": 'Danke 👍, "fertig"', "b": [1, 2.5, True, None], "a": {}},
    )
    seals = [seal.seal(seal.GENESIS, first)]
    seals.append(seal.seal(seals[0], second))
    leaves = [Leaf(SESSION, 2, seals[1]), Leaf(DISPATCH, 1, seals[0]), Leaf(TENANT, 7, bytes(32))]
    header = Header(
        tenant_id=TENANT,
        number=1,
        at="2026-11-26T09:00:00.000000Z",
        previous=FIRST_PREVIOUS,
        leaves=3,
        root=merkle.root(leaf.hash for leaf in leaves),
        key=public_bytes(KEY),
    ).to_bytes()
    signed = Signed(header, KEY.sign(header))
    path = merkle.path([leaf.hash for leaf in leaves], 0)
    assert given_ == {
        "event-1": first.decode(),
        "seal-1": seals[0].hex(),
        "event-2": second.decode(),
        "seal-2": seals[1].hex(),
        "leaves": "\n".join(leaf.to_bytes().decode() for leaf in leaves),
        "leaf-hashes": "\n".join(leaf.hash.hex() for leaf in leaves),
        "path": "\n".join(other.hex() for other in path),
        "checkpoint": b"".join(signed.lines()).decode().rstrip("\n"),
        "digest": signed.digest.hex(),
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_AT = st.datetimes(datetime(1970, 1, 3), datetime(2099, 12, 30), timezones=st.timezones())  # noqa: DTZ001 - these are naive


@given(st.dictionaries(st.text(), _JSON), st.text(), st.text() | st.none(), st.uuids() | st.none(), _AT)
def test_canonical_bytes_are_plain_sorted_json(
    payload: dict[str, Any], name: str, trace_id: str | None, dispatch_id: UUID | None, at: datetime
) -> None:
    written = seal.canonical(
        session_id=SESSION, position=3, at=at, type="x", schema_version=2, actor_kind="agent", actor_name=name,
        dispatch_id=dispatch_id, trace_id=trace_id, payload=payload,
    )  # fmt: skip
    plain = {
        "session_id": str(SESSION),
        "position": 3,
        "at": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "x",
        "schema_version": 2,
        "actor_kind": "agent",
        "actor_name": name,
        "dispatch_id": None if dispatch_id is None else str(dispatch_id),
        "trace_id": trace_id,
        "payload": payload,
    }
    assert written == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_what_is_sealed_is_what_the_database_gives_back() -> None:
    assert (
        str(storable.as_read_back("[-0.0, -0, 1e+22, 1e-07, 1.0, 2.50]"))
        == "[0.0, 0, 10000000000000000000000, 1e-07, 1.0, 2.5]"
    )


def _root(hashes: list[bytes]) -> bytes:
    """As RFC 9162 defines it."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return hashlib.sha256(b"\1" + _root(hashes[:half]) + _root(hashes[half:])).digest()


def test_trees_and_paths_of_every_size() -> None:
    hashes = [merkle.leaf_hash(bytes([n])) for n in range(40)]
    assert merkle.root([]) == hashlib.sha256(b"").digest()
    for size in range(1, 41):
        tree = hashes[:size]
        root = merkle.root(tree)
        assert root == _root(tree)
        for index in range(size):
            path = merkle.path(tree, index)
            assert merkle.root_of(tree[index], index, size, path) == root
            assert merkle.root_of(merkle.leaf_hash(b"x"), index, size, path) != root
            assert merkle.root_of(tree[index], index, size, [*path, bytes(32)]) != root
            assert not path or merkle.root_of(tree[index], index, size, path[:-1]) != root
            assert merkle.root_of(tree[index], (index + 1) % size, size, path) != root or size == 1
    assert merkle.root_of(hashes[0], 5, 5, []) is None


def test_a_file_is_read_as_it_was_written_or_not_at_all() -> None:
    leaf = Leaf(SESSION, 2, bytes(32))
    header = Header(
        tenant_id=TENANT, number=1, at="x", previous=FIRST_PREVIOUS, leaves=1, root=leaf.hash, key=public_bytes(KEY)
    )
    signed = Signed(header.to_bytes(), KEY.sign(header.to_bytes()))
    file = b"".join([*signed.lines(), leaf.to_bytes() + b"\n"])
    assert parse(file) == (signed, [leaf.to_bytes()])
    assert Leaf.from_bytes(leaf.to_bytes()) == leaf
    assert Header.from_bytes(signed.header) == header
    assert signed.signed_by(public_bytes(KEY))
    assert not signed.signed_by(bytes(32))
    for place in range(len(file)):
        changed = bytearray(file)
        changed[place] ^= 1
        try:
            other, lines = parse(bytes(changed))
            good = other.signed_by(public_bytes(KEY)) and merkle.root(map(merkle.leaf_hash, lines)) == leaf.hash
        except ValueError:
            good = False
        assert not good, place
