"""Call a skill behind HTTP with the keys that its registry entry has."""

from __future__ import annotations

from cryptography.fernet import InvalidToken

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.nouns import SkillSpec
from dragoman.runtime import Runtime
from dragoman.skills.http import CallTrace
from dragoman.skills.signing import SigningKey
from dragoman.store.catalogue.skills import DispatchRules


async def call_http_skill(
    runtime: Runtime, rules: DispatchRules, spec: SkillSpec, call: InvokeSkill, trace: CallTrace | None = None
) -> SkillReturned | SkillRaised:
    """Make one attempt, in no transaction of its own but for reading the keys.

    Whatever goes wrong is a result, also where a key cannot be opened. *trace* is told what goes over the wire.
    """
    try:
        keys = [
            SigningKey(key.key_id, runtime.keyring.decrypt(key.secret).decode())
            for key in rules.skill_keys.get(spec.name, ())
        ]
    except InvalidToken:
        return SkillRaised(
            at=runtime.clock.now(),
            duration_ms=0.0,
            error_class="SigningKeyError",
            message=f"a signing key of {spec.name} was sealed under another DRAGOMAN_SECRET_KEY; replace it",
            retryable=False,
        )
    return await runtime.http_skills.invoke(spec, call, keys, runtime.clock.now, trace)
