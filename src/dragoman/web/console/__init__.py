"""The web console: pages for people. ``render`` is for the other pages of the edge, login and errors."""

from __future__ import annotations

from fastapi import FastAPI

from dragoman.web.compression import Bundle
from dragoman.web.console import assets, channels, exports, live, logs, parts, reviews, simulator, views, whole
from dragoman.web.console.page import render

__all__ = ["install", "render"]


def install(app: FastAPI) -> None:
    """Add the console's pages and its static files to *app*."""
    app.include_router(views.router)
    # Before the logs, whose addresses take any name for a session's.
    app.include_router(live.router)
    app.include_router(exports.router)
    app.include_router(logs.router)
    app.include_router(parts.router)
    app.include_router(whole.router)
    app.include_router(reviews.router)
    app.include_router(simulator.router)
    app.include_router(channels.router)
    # The folder is made by the build; without it the pages say what to do.
    app.mount(assets.PREFIX, Bundle(directory=assets.FOLDER, check_dir=False), name="static")
