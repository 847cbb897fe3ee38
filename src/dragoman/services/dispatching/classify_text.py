"""Classify a text with what the tenant chose: the local classifier, or a language model with that one behind it."""

from __future__ import annotations

from uuid import UUID

from cryptography.fernet import InvalidToken

from dragoman.classify.language_model import ModelAccess
from dragoman.dispatch.effects import Classified, Classify
from dragoman.domain.policies import MODEL_CLASSIFIER
from dragoman.runtime import Runtime
from dragoman.services.catalogue.model_key import OtherServerError, open_key
from dragoman.store.catalogue.skills import DispatchRules


async def classify_text(runtime: Runtime, tenant_id: UUID, rules: DispatchRules, wanted: Classify) -> Classified:
    """Do what the core asks, in no transaction. Whatever a model's server does, there is a result."""
    access = model_access(runtime, tenant_id, rules) if rules.policy.classifier.kind == MODEL_CLASSIFIER else None
    reader = await runtime.classifiers.reader_for(rules.vocabulary, access)
    return await reader.read(wanted, runtime.clock.now)


def model_access(runtime: Runtime, tenant_id: UUID, rules: DispatchRules) -> ModelAccess:
    """What requests to the tenant's language model go by, with its key opened."""
    key, fault = None, ""
    try:
        if rules.classifier_key is not None:
            key = open_key(runtime.keyring, rules.policy.classifier.base_url, rules.classifier_key)
    except OtherServerError as error:
        fault = str(error)
    except InvalidToken:
        fault = "the key was sealed under another DRAGOMAN_SECRET_KEY; `dragoman classifier key add` replaces it"
    return ModelAccess(
        tenant_id=tenant_id,
        choice=rules.policy.classifier,
        most_cost_micros=rules.policy.budget.classifier_cost_micros,
        api_key=key,
        key_fault=fault,
    )
