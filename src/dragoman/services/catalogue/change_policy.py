"""Changes what a tenant decided about dispatching, and puts the change on record.

Transactions: one, with its record; two changes at once follow each other, and neither undoes the other.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import MODEL_CLASSIFIER
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.skills.addresses import checked_url
from dragoman.skills.call_errors import AddressRefusedError
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import skills


async def change_policy(
    runtime: Runtime, tenant_id: UUID, by: Administrator, change: Callable[[Policy], Policy]
) -> Policy:
    """Replace the tenant's policy by what *change* makes of it; the new one. It holds from the next message.

    Only what differs goes on record. What *change* raises leaves everything as it was. Raises ConfigurationError for
    a language model that could never be asked.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        known = (await skills.dispatch_rules(connection, tenant_id)).policy
        new = change(known)
        if new.classifier != known.classifier or new.budget != known.budget:
            check_classifier(new)
        before, after = skills.policy_to_json(known), skills.policy_to_json(new)
        different = [name for name in after if before[name] != after[name]]
        if different:
            await skills.set_policy(connection, tenant_id, new)
            tenant = await tenants.get(connection, tenant_id)
            await put_on_record(
                runtime, connection, tenant_id, "policy.changed", tenant.slug if tenant else tenant_id,
                object_kind="policy", by=by, before={name: before[name] for name in different},
                after={name: after[name] for name in different},
            )  # fmt: skip
    return new


def check_classifier(policy: Policy) -> None:
    """Raise ConfigurationError where a language model is chosen that could never be asked under this policy."""
    choice = policy.classifier
    if choice.kind != MODEL_CLASSIFIER:
        return
    try:
        checked_url(choice.base_url, allow_private=choice.allow_private)
    except AddressRefusedError as error:
        raise ConfigurationError(f"classifier.base_url: {error}") from None
    if choice.is_priced and not policy.budget.classifier_cost_micros:
        raise ConfigurationError(
            "the language model has a price, so budget.classifier_cost_micros must say what one run may cost"
        )
