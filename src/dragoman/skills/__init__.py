"""Skills are written with :func:`skill`, found by :func:`load_entry_points`, called by ``skills.invoke``.

What a skill's author needs is exported here; nothing else of Dragoman is theirs to import.
"""

from dragoman.domain.answer import THIS
from dragoman.domain.as_json import spec_from_json, spec_to_json
from dragoman.domain.content import ContactCard
from dragoman.domain.nouns import Level, ParameterKind
from dragoman.skills.python import (
    Ask,
    OpenLink,
    PythonSkill,
    React,
    Reply,
    RetryableError,
    SendContacts,
    SendLocation,
    SendMedia,
    SendTemplate,
    SkillAnswer,
    SkillContext,
    skill,
)
from dragoman.skills.registry import collect, load_entry_points
from dragoman.skills.signing import verify_signature

__all__ = [
    "THIS",
    "Ask",
    "ContactCard",
    "Level",
    "OpenLink",
    "ParameterKind",
    "PythonSkill",
    "React",
    "Reply",
    "RetryableError",
    "SendContacts",
    "SendLocation",
    "SendMedia",
    "SendTemplate",
    "SkillAnswer",
    "SkillContext",
    "collect",
    "load_entry_points",
    "skill",
    "spec_from_json",
    "spec_to_json",
    "verify_signature",
]
