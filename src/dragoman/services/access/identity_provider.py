"""Talks to a tenant's identity provider (OpenID Connect Core 1.0, Discovery 1.0): its document, keys and tokens.

The provider's address is a tenant's choice, so it is called as skills behind HTTP are: to public addresses, or to
those that the operator listed, without redirects, with a cap on the answer.

No transactions: nothing of it is stored here.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from dragoman.domain.errors import DragomanError
from dragoman.runtime import Runtime
from dragoman.skills.call_errors import SkillCallError

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"]
"""Signatures with the provider's private key alone: not "none", and nothing that a shared secret signs."""

KEPT_SECONDS = 3600.0
LOOKED_AGAIN_SECONDS = 30.0
"""A key that is not known is asked for anew, at most this often."""
SECONDS = 10.0
LEEWAY_SECONDS = 60


class ProviderError(DragomanError):
    """The provider cannot be asked, or what it says cannot be used; the text is for an administrator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What an issuer says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


async def discover(runtime: Runtime, issuer: str) -> Provider:
    """Read what the provider that *issuer* names says of itself. Raises ProviderError."""
    document = await _document(runtime, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise ProviderError("The provider calls itself something else than the issuer that is set.")
    found = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        address = document.get(name)
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise ProviderError(f"The provider's document has no {name}.")
        if issuer.startswith("https://") and not address.startswith("https://"):
            raise ProviderError(f"The provider's {name} is not encrypted.")
        found[name] = address
    return Provider(issuer=issuer, **found)


async def redeem(
    runtime: Runtime, provider: Provider, *, client_id: str, secret: str, code: str, verifier: str, redirect_uri: str
) -> str:
    """The ID token that the provider gives for an authorization code. Raises ProviderError."""
    # RFC 6749, 2.3.1: both are form-encoded before they are joined.
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "client_id": client_id,
    }
    headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    answer = await _fetch(runtime, provider.token_endpoint, form=form, headers=headers)
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise ProviderError("The provider gave no ID token.")
    return token


async def claims_of(
    runtime: Runtime, provider: Provider, token: str, *, client_id: str, nonce: str
) -> Mapping[str, Any]:
    """What an ID token says, once its signature, issuer, audience, time and nonce are right. Raises ProviderError."""
    try:
        try:
            decoded = jwt.decode(token, await _keys(runtime, provider), algorithms=ALGORITHMS)
        except InvalidKeyIdError:
            # The provider may have begun to sign with another key a moment ago.
            decoded = jwt.decode(token, await _keys(runtime, provider, again=True), algorithms=ALGORITHMS)
        jwt.JWTClaimsRegistry(
            now=int(runtime.clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(decoded.claims)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProviderError(f"The provider's ID token cannot be trusted: {type(error).__name__}.") from error
    claims = decoded.claims
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != client_id:
        raise ProviderError("The provider's ID token was made for somebody else.")
    return claims


async def _keys(runtime: Runtime, provider: Provider, *, again: bool = False) -> KeySet:
    document = await _document(runtime, provider.jwks_uri, kept_seconds=LOOKED_AGAIN_SECONDS if again else KEPT_SECONDS)
    return KeySet.import_key_set(document)  # type: ignore[arg-type]


async def _document(runtime: Runtime, address: str, *, kept_seconds: float = KEPT_SECONDS) -> dict[str, Any]:
    read_at, document = runtime.provider_documents.get(address, (float("-inf"), {}))
    if time.monotonic() - read_at > kept_seconds:
        document = await _fetch(runtime, address)
        runtime.provider_documents[address] = (time.monotonic(), document)
    return document


async def _fetch(
    runtime: Runtime,
    address: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    try:
        body = await runtime.http_skills.fetch(address, form=form, headers=headers, seconds=SECONDS)
        document = json.loads(body)
    except SkillCallError as error:
        raise ProviderError(f"The provider cannot be asked: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise ProviderError("The provider's answer is not JSON.") from error
    if not isinstance(document, dict):
        raise ProviderError("The provider's answer is no object.")
    return document
