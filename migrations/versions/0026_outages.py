"""Outages of a channel's side, and jobs that cannot succeed. Decision page 0043."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

OUTAGES = """
ALTER TABLE channel_account
    ADD COLUMN failures      int NOT NULL DEFAULT 0,   -- attempts in a row that nobody answered
    ADD COLUMN failing_since timestamptz,              -- the first of these
    ADD COLUMN open_since    timestamptz,              -- the circuit is open: nothing goes but on trial
    ADD COLUMN failing_reason text NOT NULL DEFAULT '',
    ADD COLUMN trial_at      timestamptz,              -- when the next message may be tried
    ADD COLUMN trials        int NOT NULL DEFAULT 0;

ALTER TABLE outbox_entry
    ADD COLUMN failures int NOT NULL DEFAULT 0;        -- attempts that failed while the channel took others

CREATE FUNCTION directory_unreachable_channels() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM channel_account WHERE open_since IS NOT NULL AND disabled_at IS NULL;
$$;
REVOKE ALL ON FUNCTION directory_unreachable_channels FROM PUBLIC;
"""

FAILED_JOBS = """
ALTER TABLE mailbox
    ADD COLUMN abandoned   int NOT NULL DEFAULT 0,     -- workers that died with it before its first commit
    ADD COLUMN retried_by  text,                       -- who had it dispatched again after it was given up
    ADD COLUMN recorded_in uuid;                       -- in which session's transcript it stands since then

CREATE TABLE failed_job (
    tenant_id       uuid NOT NULL,
    failed_job_id   uuid NOT NULL,
    entrypoint      text NOT NULL,           -- which kind of job
    key             uuid NOT NULL,           -- what it is about: a contact, a message, an export
    attempts        int NOT NULL,            -- that were counted, each after its pause
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    retry_at        timestamptz NOT NULL,    -- not counted before, nor woken by the sweep
    cause           text NOT NULL,           -- class and place of the error, never its words
    given_up_at     timestamptz,             -- NULL: it is still tried
    subject         jsonb NOT NULL DEFAULT '{}',   -- ids of what was given up: session, message, outbox entry
    ended_at        timestamptz,             -- retried or dismissed by somebody, or it went well in the end
    ended_how       text,
    PRIMARY KEY (tenant_id, failed_job_id)
);
CREATE UNIQUE INDEX failed_job_open ON failed_job (tenant_id, entrypoint, key)
    WHERE given_up_at IS NULL AND ended_at IS NULL;
CREATE INDEX failed_job_listed ON failed_job (tenant_id, last_failed_at DESC);

CREATE FUNCTION directory_failed_jobs() RETURNS TABLE (entrypoint text, given_up bigint, retrying bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT entrypoint, count(*) FILTER (WHERE given_up_at IS NOT NULL), count(*) FILTER (WHERE given_up_at IS NULL)
    FROM failed_job WHERE ended_at IS NULL GROUP BY 1;
$$;
REVOKE ALL ON FUNCTION directory_failed_jobs FROM PUBLIC;
"""

FUNCTIONS = ("directory_unreachable_channels", "directory_failed_jobs")


def upgrade() -> None:
    op.execute(OUTAGES)
    op.execute(FAILED_JOBS)
    op.execute("ALTER TABLE failed_job ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY failed_job_of_tenant ON failed_job TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON failed_job TO dragoman_app")
    for function in FUNCTIONS:
        op.execute(f"GRANT EXECUTE ON FUNCTION {function}() TO dragoman_app")


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}()")
    op.execute("DROP TABLE failed_job")
    op.execute("ALTER TABLE mailbox DROP COLUMN abandoned, DROP COLUMN retried_by, DROP COLUMN recorded_in")
    op.execute("ALTER TABLE outbox_entry DROP COLUMN failures")
    op.execute(
        "ALTER TABLE channel_account DROP COLUMN failures, DROP COLUMN failing_since, DROP COLUMN open_since, "
        "DROP COLUMN failing_reason, DROP COLUMN trial_at, DROP COLUMN trials"
    )
