"""Mail templates as administrators handle them: write a version, look at it filled in, take it out of use.

Transactions: one for each change, with the administrator's record of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from dragoman.domain.definitions import NAME
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.triggers import TriggerChannel, TriggerEvent
from dragoman.rendering.templates import EmailTemplate, RenderedEmail, TemplateError
from dragoman.rendering.values import check_samples, sample_values
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.automation.fire_triggers import known_facts
from dragoman.services.automation.plan_firing import DEFAULT_LOCALE
from dragoman.services.automation.template_files import TemplateFile, check_sizes, hold_files
from dragoman.store.accounts.actions import Administrator
from dragoman.store.automation import facts as facts_store
from dragoman.store.automation import mail_templates, triggers
from dragoman.translations import deferred

NO_TEMPLATE = "There is no such template."
LONGEST_LABEL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFaults(Exception):  # noqa: N818 - all that is wrong, for a form to show
    """A template cannot be kept: what is wrong with it, in its own order."""

    faults: tuple[TemplateError, ...]


async def save_template(
    runtime: Runtime,
    tenant_id: UUID,
    name: str,
    label: str,
    template: EmailTemplate,
    by: Administrator,
    *,
    attachments: Sequence[TemplateFile] = (),
) -> int:
    """Keep *template* as the current version of that name; its number.

    Raises TemplateFaults, TemplateFileError, ChangeRefusedError, BlobsUnavailableError.
    """
    if not NAME.fullmatch(name):
        raise ChangeRefusedError(deferred("Use lowercase letters, digits and underscores, starting with a letter."))
    if not 1 <= len(label.strip()) <= LONGEST_LABEL:
        raise ChangeRefusedError(deferred("Enter a label of up to %(most)s characters.", most=LONGEST_LABEL))
    check_sizes([file.size for file in attachments])
    faults = [*await runtime.mail_templates.check(template), *check_samples(template)]
    if faults:
        raise TemplateFaults(faults=tuple(faults))
    async with runtime.database.tenant(tenant_id) as connection:
        await hold_files(runtime, connection, tenant_id, attachments)
        before = await mail_templates.get(connection, tenant_id, name)
        version = await mail_templates.save_version(
            connection, tenant_id, name, label=label.strip(), source=template.to_json(),
            attachments=[file.to_json() for file in attachments], now=runtime.clock.now(), by_whom=by.name,
        )  # fmt: skip
        if before is None or version != before.version:
            await put_on_record(
                runtime, connection, tenant_id, "mail_template.saved", name, object_kind="mail_template", by=by,
                before={"version": before.version} if before else {}, after={"version": version, "label": label},
            )  # fmt: skip
    return version


async def retire_template(runtime: Runtime, tenant_id: UUID, name: str, by: Administrator) -> None:
    """Take a template out of use; its versions stay. Raises NotFoundError, and ChangeRefusedError while one is used."""
    async with runtime.database.tenant(tenant_id) as connection:
        users = [
            kept.trigger.name
            for kept in await triggers.list_all(connection, tenant_id)
            if kept.trigger.channel is TriggerChannel.EMAIL and kept.trigger.template == name
        ]
        if users:
            raise ChangeRefusedError(deferred("It is used by %(triggers)s.", triggers=", ".join(users)))
        if not await mail_templates.retire(connection, tenant_id, name):
            raise NotFoundError(NO_TEMPLATE)
        await put_on_record(
            runtime, connection, tenant_id, "mail_template.retired", name, object_kind="mail_template", by=by
        )


async def preview_template(
    runtime: Runtime, tenant_id: UUID, template: EmailTemplate, *, session_id: UUID | None = None, zone: str = "UTC"
) -> RenderedEmail:
    """See *template* filled in: with its samples, and with a real session's facts in their place where one is named.

    Raises TemplateError, NotFoundError.
    """
    values: dict[str, Any] = dict(sample_values(template))
    locale = DEFAULT_LOCALE
    if session_id is not None:
        async with runtime.database.tenant(tenant_id) as connection:
            session = (await facts_store.of_sessions(connection, tenant_id, [session_id])).get(session_id)
        if session is None:
            raise NotFoundError("There is no such conversation.")
        facts = known_facts(runtime, TriggerEvent.RESOLVED, runtime.clock.now(), session)
        declared = {variable.name for variable in template.variables}
        values |= {name: value for name, value in facts.items() if name in declared}
        locale = session.contact_locale
    return await runtime.mail_templates.render(template, values, locale=locale, zone=zone)
