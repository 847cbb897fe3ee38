"""``dragoman``: every command, and the one place where an expected failure becomes one clear line."""

from __future__ import annotations

import sys

import asyncpg
import typer
from cryptography.fernet import Fernet, InvalidToken

from dragoman.cli import (
    administer,
    audit,
    channels,
    classifier,
    contacts,
    demo,
    flows,
    hold,
    insights,
    jobs,
    loop,
    redaction,
    retention,
    serve,
)
from dragoman.cli.compose import locate_database, migrate_database
from dragoman.cli.export import export
from dragoman.cli.shared import err, settings_or_exit, with_runtime
from dragoman.domain.errors import DragomanError
from dragoman.domain.failure_text import describe
from dragoman.services.reseal import reseal
from dragoman.store.database import UNAVAILABLE

app = typer.Typer(
    name="dragoman",
    help="A dispatcher for WhatsApp and email conversations that records every decision.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve.serve)
app.command()(serve.web)
app.command()(serve.worker)
app.command()(demo.demo)
app.command()(export)
app.add_typer(administer.tenant, name="tenant")
app.add_typer(administer.user, name="user")
app.add_typer(administer.token, name="token")
app.add_typer(channels.channel, name="channel")
app.add_typer(administer.skill, name="skill")
app.add_typer(flows.flow, name="flow")
app.add_typer(flows.menu, name="menu")
app.add_typer(audit.audit, name="audit")
app.add_typer(retention.group, name="retention")
app.add_typer(hold.group, name="hold")
app.add_typer(contacts.group, name="contact")
app.add_typer(redaction.group, name="redaction")
app.add_typer(insights.group, name="insights")
app.add_typer(jobs.group, name="jobs")
app.add_typer(classifier.classifier, name="classifier")


@app.command()
def migrate() -> None:
    """Update the database: roles, schema and partitions."""
    settings = settings_or_exit()
    loop.run(migrate_database(locate_database(settings)))
    err.print("The database is up to date.")


@app.command("secret-key")
def secret_key() -> None:
    """Print a new value for DRAGOMAN_SECRET_KEY."""
    sys.stdout.write(Fernet.generate_key().decode() + "\n")


@app.command("reseal")
def reseal_secrets() -> None:
    """Re-encrypt all credentials with DRAGOMAN_SECRET_KEY; then DRAGOMAN_EARLIER_SECRET_KEY is no longer needed."""
    err.print(f"{with_runtime(reseal)} secrets are now encrypted with the current key.")


def main() -> None:
    """Run the command line; failures that one can do something about are one line and exit code 1."""
    try:
        app()
    except DragomanError as error:
        err.print(f"dragoman: {error}", style="red", markup=False)
    except InvalidToken:
        err.print("dragoman: the channel credentials were encrypted with a different DRAGOMAN_SECRET_KEY", style="red")
    except asyncpg.UndefinedTableError:
        err.print("dragoman: the database is not up to date; run `dragoman migrate`", style="red")
    except OSError as error:
        err.print(f"dragoman: {type(error).__name__}: {error}", style="red", markup=False)
    except UNAVAILABLE as error:
        err.print(f"dragoman: the database cannot be reached: {type(error).__name__}", style="red", markup=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # A fault of ours: its message may quote the record, and the output of a timer's command ends in some log.
        err.print(f"dragoman: {describe(error)}", style="red", markup=False)
    else:
        return
    sys.exit(1)
