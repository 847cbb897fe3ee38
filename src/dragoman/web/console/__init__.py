"""The web console has the pages for people. ``render`` is for the other pages of the edge, login and errors."""

from __future__ import annotations

from fastapi import FastAPI

from dragoman.web.console import (
    access_log,
    account,
    active_sessions,
    assets,
    canned_replies,
    channels,
    classifier,
    deliveries,
    dispatches,
    email_templates,
    exports,
    failed_jobs,
    fragments,
    full_view,
    handoff_actions,
    handoff_inbox,
    handoff_settings,
    holds,
    insights,
    live,
    logs,
    mailboxes,
    outbox,
    people,
    received_mails,
    redaction,
    reviews,
    sign_on,
    simulator,
    skills,
    triggers,
    views,
    volume,
)
from dragoman.web.console.page import qr_code, render
from dragoman.web.http.compression import Bundle

__all__ = ["install", "qr_code", "render"]


def install(app: FastAPI) -> None:
    """Add the console's pages and its static files to *app*."""
    app.include_router(views.router)
    # Before the logs, whose addresses take any name for a session's.
    app.include_router(live.router)
    app.include_router(volume.router)
    app.include_router(exports.router)
    app.include_router(outbox.router)
    app.include_router(logs.router)
    app.include_router(fragments.router)
    app.include_router(full_view.router)
    app.include_router(reviews.router)
    app.include_router(holds.router)
    app.include_router(handoff_inbox.router)
    app.include_router(handoff_actions.router)
    app.include_router(active_sessions.router)
    app.include_router(insights.router)
    app.include_router(dispatches.router)
    # Before the registry, whose addresses take any name for a skill's.
    app.include_router(classifier.router)
    app.include_router(simulator.router)
    app.include_router(received_mails.router)
    app.include_router(skills.router)
    app.include_router(mailboxes.router)
    app.include_router(channels.router)
    app.include_router(canned_replies.router)
    app.include_router(triggers.router)
    app.include_router(email_templates.router)
    app.include_router(failed_jobs.router)
    app.include_router(deliveries.router)
    app.include_router(access_log.router)
    app.include_router(people.router)
    app.include_router(handoff_settings.router)
    app.include_router(redaction.router)
    app.include_router(sign_on.router)
    app.include_router(account.router)
    # The folder is made by the build; without it the pages say what to do.
    app.mount(assets.PREFIX, Bundle(directory=assets.FOLDER, check_dir=False), name="static")
