"""Who is asking, and may they: login session or bearer token, one permission for each route.

A route declares ``Annotated[Identity, Depends(require("communications.access:read"))]``. A test walks the routes
and demands such a declaration of each that is not on its list of public ones.
"""

# No postponed annotations here: FastAPI reads those of Require.__call__ from an instance, which has no module.
import hmac
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlencode, urlsplit
from uuid import UUID

from fastapi import Request
from starlette.exceptions import HTTPException

from dragoman.domain.handoff import Agent
from dragoman.domain.nouns import DEFAULT_CURRENCY
from dragoman.domain.permissions import access_refusal
from dragoman.services.visibility import UNMASK, Visibility
from dragoman.store.accounts import api_tokens, login_sessions
from dragoman.store.accounts.actions import Administrator
from dragoman.store.accounts.holders import Holder
from dragoman.store.accounts.roles import PERMISSIONS
from dragoman.web.http.dependencies import runtime_of

SESSION_COOKIE = "dragoman_session"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
BY_ITSELF = "X-By-Itself"
"""Sent by a page that asks without anybody having done something: such requests do not keep a login alive."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking: a user, or a token, which has no ``user_id`` and no ``csrf_token``; ``actor_id`` is either's."""

    tenant_id: UUID
    tenant_name: str
    actor_id: UUID
    user_id: UUID | None
    name: str
    role: str
    permissions: frozenset[str]
    csrf_token: str | None
    retention_days: int | None = None
    currency: str = DEFAULT_CURRENCY
    via: Literal["session", "token"]

    def may(self, permission: str) -> bool:
        """Whether this permission is granted."""
        return permission in self.permissions

    @property
    def visibility(self) -> Visibility:
        """What they may see of what they may read."""
        return Visibility(self.may(UNMASK))


class SignInRequired(Exception):  # noqa: N818 - says what is to be done, and is answered by a redirect to it
    """Nobody is signed in, and the route wants somebody."""


class MissingPermissionError(HTTPException):
    """Is the refusal, with 403, of what needs a permission that who asks does not have."""

    def __init__(self, permission: str) -> None:
        """Say whom to ask for *permission*."""
        super().__init__(403, access_refusal(permission))
        self.permission = permission


async def identify(request: Request) -> Principal | None:
    """Who is asking, looked up once for each request.

    An ``Authorization: Bearer`` header counts alone: a bad token is not made good by a cookie.
    """
    state = request.scope.setdefault("state", {})
    if "identity" not in state:
        state["identity"] = await _look_up(request, touch=BY_ITSELF not in request.headers)
    found: Principal | None = state["identity"]
    return found


async def still_allowed(request: Request, identity: Principal, permission: str) -> bool:
    """Whether who opened a stream with *request* may still do so: asked anew, and no sign that a person is there."""
    found = await _look_up(request, touch=False)
    return found is not None and found.tenant_id == identity.tenant_id and found.may(permission)


async def _look_up(request: Request, *, touch: bool) -> Principal | None:
    runtime = runtime_of(request)
    now = runtime.clock.now()
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _identity(
            await api_tokens.use_token(runtime.database, credentials.strip(), now=now, touch=touch), "token"
        )
    secret = request.cookies.get(SESSION_COOKIE)
    if secret is None:
        return None
    return _identity(
        await login_sessions.resume_login_session(runtime.database, secret, now=now, touch=touch), "session"
    )


def _identity(holder: Holder | None, via: Literal["session", "token"]) -> Principal | None:
    if holder is None:
        return None
    return Principal(
        tenant_id=holder.tenant_id,
        tenant_name=holder.tenant_name,
        actor_id=holder.actor_id,
        user_id=holder.user_id,
        name=holder.name,
        role=holder.role,
        permissions=holder.permissions,
        csrf_token=holder.csrf_token,
        retention_days=holder.retention_days,
        currency=holder.currency,
        via=via,
    )


@dataclass(frozen=True)
class Require:
    """A dependency that gives the Identity, or refuses; ``permission`` None asks only for someone signed in.

    Raises SignInRequired, MissingPermissionError, and HTTPException 403 for a forged unsafe request.
    """

    permission: str | None

    async def __call__(self, request: Request) -> Principal:
        """The identity."""
        identity = await identify(request)
        if identity is None:
            raise SignInRequired
        if self.permission is not None and not identity.may(self.permission):
            raise MissingPermissionError(self.permission)
        if identity.via == "session" and request.method not in SAFE_METHODS:
            await _check_forgery(request, identity)
        return identity


def require(permission: str) -> Require:
    """The dependency for a route that needs *permission*. Raises ValueError for one that no role knows."""
    if permission not in PERMISSIONS:
        raise ValueError(f"{permission!r} is no permission")
    return Require(permission)


def agent_of(identity: Principal) -> Agent:
    """Who answers contacts, as the record of a session names them."""
    return Agent(agent_id=identity.actor_id, name=identity.name)


def administrator_of(identity: Principal) -> Administrator:
    """Who changes something or takes it away, as the record of actions names them."""
    return Administrator(identity.name, identity.user_id, via=identity.via)


signed_in = Require(None)
"""The dependency for a route that anyone signed in may use."""


async def _check_forgery(request: Request, identity: Principal) -> None:
    check_origin(request)
    given: object = request.headers.get(CSRF_HEADER)
    if given is None:
        # A route that takes files has had its form read by now; elsewhere a file would only be left open.
        given = (await request.form(max_files=0)).get(CSRF_FIELD)
    if not isinstance(given, str) or not same(given, identity.csrf_token or ""):
        raise HTTPException(403, "This page has expired. Go back, reload it, and try again.")


def check_origin(request: Request) -> None:
    """Refuse, with HTTPException 403, what a browser sends on behalf of another site.

    Browsers say so in ``Sec-Fetch-Site`` (Fetch Metadata) or ``Origin`` (Fetch, 3.2). What sends neither is no
    browser, and has no cookie that it did not put there itself.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        raise HTTPException(403, "The request came from another site.")
    origin = request.headers.get("origin")
    if origin is None:
        return
    own = urlsplit(runtime_of(request).settings.base_url)
    # The Host header too, since one installation may be reached under several names.
    if origin != f"{own.scheme}://{own.netloc}" and split_address(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "The request came from another site.")


def login_address(wanted: str) -> str:
    """The login's address, which leads on to *wanted*; to the first page where that is empty."""
    return f"/login?{urlencode({'next': wanted})}" if wanted not in {"", "/"} else "/login"


def split_address(given: str) -> SplitResult:
    """Split an address that a header brought; nothing of it where it is none, such as ``http://[``."""
    try:
        return urlsplit(given)
    except ValueError:
        return urlsplit("")


def same(given: str, expected: str) -> bool:
    """Compare secrets in a time that does not tell how much of them is right; never true for an empty one."""
    return bool(expected) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def session_cookie(request: Request) -> str | None:
    """The login session's secret as the browser sent it."""
    return request.cookies.get(SESSION_COOKIE)
