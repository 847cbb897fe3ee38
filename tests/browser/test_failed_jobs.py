"""Failed jobs as an administrator sees them, at a desk and on a phone: all of it can be read and pressed."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, expect

from dragoman.store import failed_jobs
from dragoman.store.failed_jobs import FailedJob
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, PHONE, Visitor

ADDRESS = "/communications/settings/failed-jobs"

CAUSE = "asyncpg.exceptions.ProgramLimitExceededError 54000 at " + " < ".join(
    f"dragoman.services.dispatching.commit_turns:_write_a_turn_of_a_message:{line}" for line in range(101, 106)
)


async def fail_a_job(site: BrowserServer) -> None:
    """A merge of contacts that was given up, with a cause as long as causes are."""
    runtime, tenant_id = site.harness.runtime, site.harness.tenant_id
    now = runtime.clock.now()
    job = FailedJob(
        failed_job_id=uuid4(), entrypoint="settle_contact", key=uuid4(), attempts=6,
        first_failed_at=now - timedelta(minutes=16), last_failed_at=now, retry_at=now, cause=CAUSE, given_up_at=now,
        subject={},
    )  # fmt: skip
    async with runtime.database.tenant(tenant_id) as connection:
        await failed_jobs.save(connection, tenant_id, job)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_failed_job_can_be_read_and_dismissed(browser: Browser, own: BrowserServer, size: dict[str, int]) -> None:
    own.do(fail_a_job(own))
    visitor = Visitor.enter(browser, own, viewport=size)
    visitor.sign_in()
    page = visitor.page
    page.goto(ADDRESS)
    job = page.get_by_role("article", name="Join two contacts")
    expect(job).to_contain_text("commit_turns:_write_a_turn_of_a_message:105")
    for name in ("Retry", "Dismiss"):
        expect(job.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    # Nothing of it is out of sight to the right.
    wide = "(one) => one.scrollWidth > one.clientWidth || one.getBoundingClientRect().right > innerWidth"
    assert not job.evaluate(wide)
    assert not page.get_by_role("region", name="Failed jobs").evaluate(wide)
    job.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("No failed jobs")).to_be_visible()
    visitor.leave()
