"""A runtime on the test's own database, and the real application on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI

from dragoman.classify import Classifier, IntentReader
from dragoman.classify.language_model import ModelAccess
from dragoman.domain.nouns import Registry
from dragoman.runtime import Job, Keyring, Runtime, SystemClock, TimeOrderedIds
from dragoman.services.exports import export_conversations
from dragoman.settings import Settings
from dragoman.skills.invoker import InProcessSkills
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.conversation_list import counts
from dragoman.store.database import Connection, Database
from dragoman.web.app import create_app
from tests.waiting import PATIENCE_S

from .tenant_fixture import AdvancingClock, TenantFixture


class RecordingQueue:
    """Keeps the wake-ups; nobody is woken."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    async def enqueue(self, connection: Connection, jobs: Sequence[Job]) -> None:  # noqa: ARG002 - the port's
        self.jobs.extend(jobs)

    def run_after_commit(self, jobs: Sequence[Job]) -> None:
        self.jobs.extend(jobs)

    async def missing(self, connection: Connection, jobs: Sequence[Job]) -> list[Job]:  # noqa: ARG002 - the port's
        return [job for job in jobs if job not in self.jobs]


class NoClassifiers:
    """For tests in which nothing is dispatched."""

    async def classifier_for(self, registry: Registry) -> Classifier:
        raise AssertionError(f"nothing is classified here, with {len(registry)} skills or without")

    async def reader_for(self, registry: Registry, access: ModelAccess | None) -> IntentReader:
        raise AssertionError(f"nothing is classified here, with {len(registry)} skills or without, by {access}")


def refuse(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"a request to {request.url}, and nothing should be sent here")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the product only does while it is quick, it does here on a slow machine too."""
    monkeypatch.setattr(export_conversations, "COUNT_SECONDS", PATIENCE_S)
    monkeypatch.setattr(counts, "SECONDS", PATIENCE_S)


@pytest.fixture
async def runtime(database: Database, tmp_path: Path) -> AsyncIterator[Runtime]:
    secret_key = Fernet.generate_key().decode()
    clock = SystemClock()
    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        made = Runtime(
            settings=Settings(
                data_directory=tmp_path,
                secret_key=secret_key,
                webhook_body_limit=100_000,
                other_hosts=("console.example", "dragoman.test"),
            ),
            database=database,
            clock=clock,
            source=TimeOrderedIds(clock),
            http=http,
            queue=RecordingQueue(),
            keyring=Keyring(secret_key),
            classifiers=NoClassifiers(),
            skills=InProcessSkills({}, clock.now),
            blobs=LocalBlobs(tmp_path / "media"),
        )
        yield made
        await made.mail_templates.close()
        await made.mail.close()


@pytest.fixture
async def tenant(runtime: Runtime) -> TenantFixture:
    return await TenantFixture.build(runtime, "house")


@pytest.fixture
def clock() -> AdvancingClock:
    return AdvancingClock()


@pytest.fixture
def app(runtime: Runtime) -> FastAPI:
    return create_app(runtime)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends what it is told to send: no cookies are kept, no redirects followed."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        yield client
