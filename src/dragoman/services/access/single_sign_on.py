"""Signs people in by a tenant's identity provider: OpenID Connect's code flow with PKCE, state and nonce.

Transactions: one that reads the tenant's settings; one that finds or makes the user, with its record. What has to be
remembered between leaving and coming back is with the browser, encrypted: it is that browser's way and nobody else's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from cryptography.fernet import InvalidToken

from dragoman.domain.errors import (
    AlreadyTakenError,
    ChangeRefusedError,
    ConfigurationError,
    DragomanError,
    NotFoundError,
)
from dragoman.domain.plain_text import cut, visible_name
from dragoman.runtime import Runtime
from dragoman.services.access import identity_provider, people
from dragoman.services.audit.on_record import put_on_record
from dragoman.store import tenants
from dragoman.store.accounts import roles, user_accounts
from dragoman.store.accounts import single_sign_on as store
from dragoman.store.accounts.actions import Administrator
from dragoman.store.accounts.single_sign_on import SingleSignOn
from dragoman.store.accounts.user_accounts import User
from dragoman.store.database import Connection
from dragoman.translations import deferred

GOOD_FOR = timedelta(minutes=10)
PROVIDER = Administrator("single sign-on")
MOST_ROLES = 100


class SignOnError(DragomanError):
    """Nobody is signed in; the text says why, to the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where the browser goes, and what it has to bring back (``kept``, encrypted)."""

    to: str
    remembered: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOn:
    """Who came back, and where they wanted to go."""

    tenant_id: UUID
    user_id: UUID
    next: str


def redirect_uri(runtime: Runtime) -> str:
    """The address that the provider sends browsers back to."""
    return f"{runtime.settings.base_url}/login/sso/callback"


async def depart(runtime: Runtime, slug: str, wanted: str) -> Departure:
    """Begin the way to the provider. Raises SignOnError."""
    tenant_id, settings = await _settings(runtime, slug)
    provider = await identity_provider.discover(runtime, settings.issuer)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": redirect_uri(runtime),
        "scope": "openid email profile",
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    kept = {
        "tenant": str(tenant_id), "state": state, "nonce": nonce, "verifier": verifier, "next": wanted,
        "at": runtime.clock.now().timestamp(),
    }  # fmt: skip
    joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    return Departure(
        to=f"{provider.authorization_endpoint}{joint}{urlencode(query)}",
        remembered=runtime.keyring.encrypt(json.dumps(kept).encode()).decode(),
    )


async def arrive(runtime: Runtime, kept: str, answer: Mapping[str, str]) -> SignedOn:
    """Take the provider's answer, on the way back. Raises SignOnError, ProviderError."""
    begun = _opened(runtime, kept)
    if not secrets.compare_digest(begun["state"].encode(), answer.get("state", "").encode(errors="replace")):
        raise SignOnError("This answer does not belong to what was begun in this browser. Begin again.")
    if answer.get("error"):
        raise SignOnError("The provider did not let you in.")
    tenant_id = UUID(begun["tenant"])
    async with runtime.database.tenant(tenant_id) as connection:
        settings = await store.of(connection, tenant_id)
    if settings is None:
        raise SignOnError("Single sign-on is no longer set up for your organisation.")
    # RFC 9207: an answer of another provider than the one that was asked.
    if answer.get("iss", settings.issuer) != settings.issuer:
        raise SignOnError("This answer is another provider's. Begin again.")
    provider = await identity_provider.discover(runtime, settings.issuer)
    token = await identity_provider.redeem(
        runtime, provider, client_id=settings.client_id, secret=runtime.keyring.decrypt(settings.secret).decode(),
        code=answer.get("code", ""), verifier=begun["verifier"], redirect_uri=redirect_uri(runtime),
    )  # fmt: skip
    claims = await identity_provider.claims_of(
        runtime, provider, token, client_id=settings.client_id, nonce=begun["nonce"]
    )
    user_id = await _user(runtime, tenant_id, settings, claims)
    return SignedOn(tenant_id=tenant_id, user_id=user_id, next=begun["next"])


def _opened(runtime: Runtime, kept: str) -> dict[str, Any]:
    try:
        begun = json.loads(runtime.keyring.decrypt(kept.encode(errors="replace")))
    except (InvalidToken, ValueError) as error:
        raise SignOnError("Nothing was begun in this browser. Begin again.") from error
    if runtime.clock.now().timestamp() - begun["at"] > GOOD_FOR.total_seconds():
        raise SignOnError("That took longer than ten minutes. Begin again.")
    return dict(begun)


async def _settings(runtime: Runtime, slug: str) -> tuple[UUID, SingleSignOn]:
    async with runtime.database.directory() as connection:
        tenant_id = await tenants.find(connection, slug)
    if tenant_id is not None:
        async with runtime.database.tenant(tenant_id) as connection:
            settings = await store.of(connection, tenant_id)
        if settings is not None:
            return tenant_id, settings
    # The same for whoever has none: which organisations are here is nobody's business.
    raise SignOnError("No organisation with that name uses single sign-on.")


async def _user(runtime: Runtime, tenant_id: UUID, settings: SingleSignOn, claims: Mapping[str, Any]) -> UUID:
    email, role = _address(settings, claims), _role(settings, claims)
    subject = str(claims["sub"])
    async with runtime.database.tenant(tenant_id) as connection:
        users = {user.user_id: user for user in await user_accounts.list_all(connection, tenant_id)}
        known = await store.user_of(connection, tenant_id, subject)
        user = users.get(known) if known else next((u for u in users.values() if u.email == email), None)
        if user is None:
            user = await _made(runtime, connection, tenant_id, claims, email, role)
        await store.link(connection, tenant_id, subject, user.user_id)
    if user.disabled_at is not None:
        raise SignOnError("Your account here was shut. Ask an administrator.")
    if user.role != role:
        try:
            await people.change_role(runtime, tenant_id, PROVIDER, user.user_id, role)
        except (ChangeRefusedError, ConfigurationError) as error:
            raise SignOnError(str(error)) from error
    return user.user_id


def _address(settings: SingleSignOn, claims: Mapping[str, Any]) -> str:
    email = user_accounts.normal_email(str(claims.get("email") or ""))
    if not email or claims.get("email_verified") is False:
        raise SignOnError("The provider does not say which address is yours.")
    if settings.domains and email.rpartition("@")[2] not in settings.domains:
        raise SignOnError("Addresses of your domain do not come in here.")
    return email


def _role(settings: SingleSignOn, claims: Mapping[str, Any]) -> str:
    said = claims.get(settings.claim)
    values = {str(value) for value in said} if isinstance(said, list) else {str(said)}
    role = next((role for value, role in settings.roles if value in values), None)
    if role is None:
        raise SignOnError("The provider gives you no role here. Ask an administrator.")
    return role


async def _made(
    runtime: Runtime, connection: Connection, tenant_id: UUID, claims: Mapping[str, Any], email: str, role: str
) -> User:
    name = cut(visible_name(str(claims.get("name") or "")) or email, 120)
    try:
        user = await user_accounts.create_user(
            connection, tenant_id, user_id=runtime.source.new_id(), email=email, name=name,
            # Nobody knows it; who is to have one as well resets it.
            password=secrets.token_urlsafe(32), role=role, now=runtime.clock.now(),
        )  # fmt: skip
    except AlreadyTakenError as error:
        raise SignOnError("Your address belongs to an account of another organisation here.") from error
    except ConfigurationError as error:
        raise SignOnError(str(error)) from error
    await put_on_record(
        runtime, connection, tenant_id, "user.created", email, object_kind="user", by=PROVIDER,
        after={"name": name, "role": role},
    )  # fmt: skip
    return user


async def configure(
    runtime: Runtime,
    tenant_id: UUID,
    by: Administrator,
    *,
    issuer: str,
    client_id: str,
    secret: str,
    claim: str,
    pairs: Sequence[tuple[str, str]],
    domains: Sequence[str],
    only_way: bool,
) -> None:
    """Set a tenant's provider, once it answers; an empty *secret* keeps the one that is known.

    Raises ChangeRefusedError for what cannot be used, ProviderError for a provider that cannot be asked.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        before = await store.of(connection, tenant_id)
        known = await roles.list_all(connection, tenant_id)
    if not client_id or not (secret or before) or not claim:
        raise ChangeRefusedError(deferred("Enter issuer, client ID, client secret and claim."))
    if not pairs or len(pairs) > MOST_ROLES:
        raise ChangeRefusedError(
            deferred("Enter which claim value gives which role: one per line, at most %(most)s.", most=MOST_ROLES)
        )
    if unknown := sorted({role for _, role in pairs} - known.keys()):
        raise ChangeRefusedError(deferred("There is no role %(role)s.", role=unknown[0]))
    await identity_provider.discover(runtime, issuer)
    wanted = SingleSignOn(
        issuer=issuer,
        client_id=client_id,
        secret=runtime.keyring.encrypt(secret.encode()) if secret or before is None else before.secret,
        claim=claim,
        roles=pairs,
        domains=[domain.lower() for domain in domains],
        only_way=only_way,
    )
    async with runtime.database.tenant(tenant_id) as connection:
        await store.save(connection, tenant_id, wanted)
        await _record(runtime, connection, tenant_id, by, before, wanted)


async def remove(runtime: Runtime, tenant_id: UUID, by: Administrator) -> None:
    """Let passwords be the way again. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        before = await store.of(connection, tenant_id)
        if before is None:
            raise NotFoundError("there is no single sign-on")
        await store.remove(connection, tenant_id)
        await _record(runtime, connection, tenant_id, by, before, None)


async def _record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    by: Administrator,
    before: SingleSignOn | None,
    after: SingleSignOn | None,
) -> None:
    await put_on_record(
        runtime, connection, tenant_id, "tenant.single_sign_on", tenant_id, object_kind="tenant", by=by,
        before=shown(before), after=shown(after) | _new_secret(before, after),
    )  # fmt: skip


def shown(settings: SingleSignOn | None) -> dict[str, Any]:
    """Show the settings without the secret, for the record and for administrators."""
    if settings is None:
        return {}
    bare = replace(settings, secret=b"")
    return {
        "issuer": bare.issuer, "client_id": bare.client_id, "claim": bare.claim,
        "roles": [list(pair) for pair in bare.roles], "domains": list(bare.domains), "only_way": bare.only_way,
    }  # fmt: skip


def _new_secret(before: SingleSignOn | None, after: SingleSignOn | None) -> dict[str, Any]:
    changed = before is not None and after is not None and before.secret != after.secret
    return {"secret": "another one"} if changed else {}
