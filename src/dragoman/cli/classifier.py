"""``classifier`` tries what reads messages, and keeps the key for the server of a tenant's language model."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, on_record, show, tenant_id_of, with_runtime
from dragoman.dispatch.effects import Classified, Classify
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plurals import counted
from dragoman.runtime import Runtime
from dragoman.services.catalogue.model_key import seal_key
from dragoman.services.dispatching.classify_text import classify_text
from dragoman.store.catalogue import classifier_key, skills

classifier = typer.Typer(help="Set up what reads messages that no rule settles.", no_args_is_help=True)
key = typer.Typer(help="Add and remove the key for the server of a language model.", no_args_is_help=True)
classifier.add_typer(key, name="key")

Words = Annotated[str, typer.Argument(metavar="TEXT", help="What a contact might write.")]
Language = Annotated[str, typer.Option(help="The contact's language, as a tag.")]

_KEY = re.compile(r"[!-~]{1,1000}")


@classifier.command("try")
def classifier_try(
    text: Words, tenant_slug: TenantOption, *, locale: Language = "en", as_json: JsonOption = False
) -> None:
    """Read TEXT as a message that no rule settles, with what the tenant chose. Exits with 1 if a language model fails.

    A language model is really asked, and paid for; no session pays.
    """

    async def job(runtime: Runtime) -> Classified:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            rules = await skills.dispatch_rules(connection, tenant_id)
        return await classify_text(runtime, tenant_id, rules, Classify(text=text, locale=locale))

    found = with_runtime(job)
    rows = [{"intent": each.intent, "confidence": each.confidence} for each in found.candidates]
    show(rows, as_json=as_json, empty="Nothing is known to the classifier: no skill has phrases.")
    failed = found.failure
    cost = found.cost_micros + (failed.cost_micros if failed else 0)
    err.print(
        f"Read by {found.classifier}, version {found.classifier_version}, in {found.duration_ms:,.1f} ms; "
        f"it cost {counted(cost, 'micro-unit', 'micro-units')}.",
        markup=False,
    )
    if failed is not None:
        err.print(f"{failed.classifier} {failed.classifier_version} did not answer: {failed.error_class}", markup=False)
        err.print(f"{failed.message} ({counted(failed.attempts, 'attempt', 'attempts')})", markup=False)
        raise typer.Exit(1)


@key.command("add")
def key_add(tenant_slug: TenantOption) -> None:
    """Ask for the key and store it encrypted, in place of the one that there may be. Holds from the next message.

    It is for the server that the policy names now: another one is never sent it.
    """
    given = str(typer.prompt("Key", hide_input=True)).strip()
    if not _KEY.fullmatch(given):
        raise ConfigurationError("a key is one word of at most 1000 letters, digits and signs of ASCII")

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            base_url = (await skills.dispatch_rules(connection, tenant_id)).policy.classifier.base_url
            if not base_url:
                raise ConfigurationError("the policy names no language model; set classifier.base_url first")
            await classifier_key.save(connection, tenant_id, seal_key(runtime.keyring, base_url, given))
            await on_record(runtime, connection, tenant_id, "classifier.key_added", tenant_slug)

    with_runtime(job)
    err.print(f"Requests to the language model of {tenant_slug} have this key from now on.")


@key.command("remove")
def key_remove(tenant_slug: TenantOption) -> None:
    """Remove the key: requests go without one."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await classifier_key.remove(connection, tenant_id)
            await on_record(runtime, connection, tenant_id, "classifier.key_removed", tenant_slug)

    with_runtime(job)
    err.print(f"Requests to the language model of {tenant_slug} go without a key from now on.")
