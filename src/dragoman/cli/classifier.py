"""``classifier`` tries what reads messages, and keeps the key for the server of a tenant's language model."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from dragoman.classify.scores import Scores
from dragoman.classify.scores import to_json as scores_to_json
from dragoman.cli.shared import JsonOption, TenantOption, err, on_record, show, tenant_id_of, with_runtime
from dragoman.dispatch.effects import Classified, Classify
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plurals import counted
from dragoman.runtime import Runtime
from dragoman.services.catalogue import train_classifier
from dragoman.services.catalogue.model_key import seal_key
from dragoman.services.catalogue.train_classifier import MeasuredVersion, Trial
from dragoman.services.dispatching.classify_text import classify_text
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import classifier_key, skills

classifier = typer.Typer(
    help="Train, test and set up the classifier, which finds out what a message asks for.", no_args_is_help=True
)
key = typer.Typer(help="Add or remove the API key of a language model.", no_args_is_help=True)
classifier.add_typer(key, name="key")

Words = Annotated[str, typer.Argument(metavar="TEXT", help="What a contact might write.")]
Language = Annotated[str, typer.Option(help="The contact's language, such as en or pt-BR.")]

MOST_LABELLED = 5000
"""Lines of a file that a classifier is measured on: a language model is paid for each."""

_KEY = re.compile(r"[!-~]{1,1000}")


@classifier.command("try")
def classifier_try(
    text: Words, tenant_slug: TenantOption, *, locale: Language = "en", as_json: JsonOption = False
) -> None:
    """Run the tenant's classifier on TEXT. Exits with 1 if a language model fails.

    A language model is really asked, and paid for; no session pays.
    """

    async def job(runtime: Runtime) -> Classified:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            rules = await skills.dispatch_rules(connection, tenant_id)
        return await classify_text(runtime, tenant_id, rules, Classify(text=text, locale=locale))

    found = with_runtime(job)
    rows = [{"intent": each.intent, "confidence": each.confidence} for each in found.candidates]
    show(rows, as_json=as_json, empty="The classifier knows no skills: none has phrases.")
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


@classifier.command("train")
def classifier_train(
    tenant_slug: TenantOption,
    *,
    live: Annotated[bool, typer.Option("--put-live", help="Put it live if it has new phrases.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train and measure the next version of the local classifier, with any new phrases."""

    async def job(runtime: Runtime) -> MeasuredVersion:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        measured = await train_classifier.measure_version(runtime, tenant_id, wanted=True)
        if live:
            await train_classifier.put_live(runtime, tenant_id, COMMAND_LINE, version=measured.version)
        return measured

    with err.status("Training"):
        measured = with_runtime(job)
    _show_scores(measured.version, measured.phrases, measured.scores, as_json=as_json)
    if live:
        err.print("It is live from now on.")


@classifier.command("evaluate")
def classifier_evaluate(
    tenant_slug: TenantOption,
    file: Annotated[
        Path | None, typer.Argument(help="A CSV file: a message and its correct intent on each line.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Measure the live classifier on FILE; without it, the local classifier on held-out phrases.

    On FILE a language model is really asked, and paid for. Its scores are kept with its version.
    """
    examples = None if file is None else _labelled(file)

    async def job(runtime: Runtime) -> tuple[str, int, Scores]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        if examples is None:
            measured = await train_classifier.measure_version(runtime, tenant_id)
            return measured.version, measured.phrases, measured.scores
        return await train_classifier.evaluate_on(runtime, tenant_id, examples)

    with err.status("Measuring"):
        version, phrases, scores = with_runtime(job)
    _show_scores(version, phrases, scores, as_json=as_json)


@classifier.command("compare")
def classifier_compare(
    tenant_slug: TenantOption,
    *,
    days: Annotated[int, typer.Option(min=1, max=90, help="How many days of messages to compare.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Compare the live version with the next one on recent messages, and show what would change."""

    async def job(runtime: Runtime) -> Trial:
        return await train_classifier.try_next_version(runtime, await tenant_id_of(runtime, tenant_slug), days=days)

    with err.status("Comparing"):
        trial = with_runtime(job)
    rows = [
        {
            "session_id": str(one.message.session_id),
            "text": one.message.text,
            f"version {trial.live_version}": one.before or "not understood",
            f"version {trial.next_version}": one.after or "not understood",
        }
        for one in trial.changed
    ]
    show(rows, as_json=as_json, empty="No message would be classified differently.")
    err.print(
        f"Of {counted(trial.messages, 'message', 'messages')}: {trial.newly_understood} newly understood, "
        f"{trial.no_longer_understood} no longer, {trial.other_intent} taken for something else, "
        f"{trial.unchanged} as now."
    )


def _labelled(file: Path) -> list[tuple[str, str]]:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            found = [(row[0], row[1].strip()) for row in csv.reader(lines) if len(row) >= 2]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    if not found:
        raise ConfigurationError(f"{file} has no line with a text and an intent")
    if len(found) > MOST_LABELLED:
        raise ConfigurationError(f"{file} has more than {MOST_LABELLED} lines; take a part of it")
    return found


def _show_scores(version: str, phrases: int, scores: Scores, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"version": version, "phrases": phrases, **scores_to_json(scores)}) + "\n")
        return
    for one in scores.confusions[:10]:
        sys.stdout.write(f"{one.wanted} taken for {one.given}: {one.count}\n")
    recall = scores.out_of_scope_recall
    err.print(
        f"Version {version}: {scores.accuracy:.1%} right of {scores.examples} examples, "
        + ("none of them out of scope" if recall is None else f"{recall:.1%} of what is out of scope recognised")
        + f" at a threshold of {scores.threshold:.2f}.",
        markup=False,
    )


@key.command("add")
def key_add(tenant_slug: TenantOption) -> None:
    """Ask for the API key and store it encrypted, replacing any other. Effective from the next message.

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
    err.print(f"Requests to the language model of {tenant_slug} now use this key.")


@key.command("remove")
def key_remove(tenant_slug: TenantOption) -> None:
    """Remove the API key: requests are sent without one."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await classifier_key.remove(connection, tenant_id)
            await on_record(runtime, connection, tenant_id, "classifier.key_removed", tenant_slug)

    with_runtime(job)
    err.print(f"Requests to the language model of {tenant_slug} are now sent without a key.")
