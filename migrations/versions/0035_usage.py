"""Usage: what skills were called, what was not understood, and counts of both; phrases; versions of classifiers.

All but the phrases and the versions is derived from the audit log and can be made again from it. Decision page 0055.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

TABLES = """
-- Sessions that have to be counted again. What leaves the change feed is put here in the same statement.
CREATE TABLE usage_due (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
);

-- What of each session stands in the counts, so that a session is counted once however often it is looked at.
CREATE TABLE usage_counted (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    events     int NOT NULL,                -- up to this position of its timeline
    last_at    timestamptz NOT NULL,        -- when the last of them was
    counted    jsonb NOT NULL,              -- what it adds: [quarter of an hour, measure, name, bucket, value]
    PRIMARY KEY (tenant_id, session_id)
);
CREATE INDEX usage_counted_old ON usage_counted (tenant_id, last_at);

CREATE TABLE usage_state (
    tenant_id  uuid PRIMARY KEY,
    counted_at timestamptz NOT NULL         -- what was on record then is in the counts
);

-- One row is one dispatch of a skill, with all its attempts.
CREATE TABLE skill_invocation (
    tenant_id     uuid NOT NULL,
    session_id    uuid NOT NULL,
    position      int NOT NULL,             -- of the event that says that it was invoked, the first time
    at            timestamptz NOT NULL,
    skill         text NOT NULL,
    skill_version text NOT NULL,
    dispatch_id   uuid,
    result        text NOT NULL CHECK (result IN ('running', 'succeeded', 'failed', 'lost')),
    attempts      int NOT NULL,
    duration_ms   double precision,         -- of all attempts that ended
    cost_micros   bigint NOT NULL,
    error_class   text NOT NULL DEFAULT '',
    end_position  int,                      -- of the event that says how it ended
    PRIMARY KEY (tenant_id, session_id, position)
);
CREATE INDEX skill_invocation_recent ON skill_invocation (tenant_id, at, session_id, position);
CREATE INDEX skill_invocation_of_skill ON skill_invocation (tenant_id, skill, at, session_id, position);
CREATE INDEX skill_invocation_by_result ON skill_invocation (tenant_id, result, at, session_id, position);
CREATE INDEX skill_invocation_of_skill_by_result ON skill_invocation
    (tenant_id, skill, result, at, session_id, position);

-- Counts by time: a quarter of an hour (q), an hour (h), a day of UTC (d), seven of them (w). A bucket other than 0 is
-- one of a histogram.
CREATE TABLE usage_count (
    tenant_id uuid NOT NULL,
    grain     text NOT NULL CHECK (grain IN ('q', 'h', 'd', 'w')),
    measure   text NOT NULL,
    start     timestamptz NOT NULL,
    name      text NOT NULL,
    bucket    int NOT NULL,
    value     bigint NOT NULL,
    PRIMARY KEY (tenant_id, grain, measure, start, name, bucket)
);
-- There is no index by time alone: a plan that takes it for figures walks through all measures and grains.

-- Messages that were not understood. Their words stay where they are, in the transcript.
CREATE TABLE unanswered_message (
    tenant_id   uuid NOT NULL,
    session_id  uuid NOT NULL,
    position    int NOT NULL,
    at          timestamptz NOT NULL,
    message_id  uuid,
    best_guess  text NOT NULL DEFAULT '',
    confidence  double precision,
    group_id    uuid,                       -- NULL: not grouped yet, or nothing to read in it
    is_wordless boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, session_id, position)
);
CREATE INDEX unanswered_message_recent ON unanswered_message (tenant_id, at) INCLUDE (group_id, is_wordless);
CREATE INDEX unanswered_message_of_group ON unanswered_message (tenant_id, group_id, at DESC);
CREATE INDEX unanswered_message_ungrouped ON unanswered_message (tenant_id, at)
    WHERE group_id IS NULL AND NOT is_wordless;

-- Questions that are alike. `features` are hashes of pieces of the first one's words.
CREATE TABLE question_group (
    tenant_id  uuid NOT NULL,
    group_id   uuid NOT NULL,
    features   int[] NOT NULL,
    last_at    timestamptz NOT NULL,
    decision   text CHECK (decision IN ('phrase', 'out_of_scope')),
    intent     text,                        -- whose phrases they became
    decided_at timestamptz,
    decided_by text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, group_id)
);
CREATE INDEX question_group_recent ON question_group (tenant_id, last_at);

-- What administrators teach the classifier, beside what skills and flows bring along. It is taught with the next
-- version that is put live: is_wanted says how it shall be, is_live how it is.
CREATE TABLE training_phrase (
    tenant_id  uuid NOT NULL,
    phrase_id  uuid NOT NULL,
    intent     text NOT NULL,               -- a skill, a flow, or out_of_scope
    text       text NOT NULL,
    locale     text NOT NULL,
    folded     text NOT NULL,
    added_at   timestamptz NOT NULL,
    added_by   text NOT NULL,
    session_id uuid,                        -- whose message it was
    is_wanted  boolean NOT NULL DEFAULT true,
    is_live    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, phrase_id),
    UNIQUE (tenant_id, intent, folded)
);

CREATE TABLE classifier_version (
    tenant_id  uuid NOT NULL,
    classifier text NOT NULL,
    version    text NOT NULL,
    trained_at timestamptz NOT NULL,
    phrases    int NOT NULL,
    scores     jsonb,                       -- NULL: not measured
    live_at    timestamptz,                 -- when it was put live, the latest time
    live_by    text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, classifier, version)
);
"""

GRANTS = {
    "usage_due": "SELECT, INSERT, DELETE",
    "usage_counted": "SELECT, INSERT, UPDATE, DELETE",
    "usage_state": "SELECT, INSERT, UPDATE",
    "skill_invocation": "SELECT, INSERT, DELETE",
    "usage_count": "SELECT, INSERT, UPDATE, DELETE",
    "unanswered_message": "SELECT, INSERT, UPDATE, DELETE",
    "question_group": "SELECT, INSERT, UPDATE, DELETE",
    "training_phrase": "SELECT, INSERT, UPDATE, DELETE",
    "classifier_version": "SELECT, INSERT, UPDATE",
}


def upgrade() -> None:
    op.execute(TABLES)
    for table, rights in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT {rights} ON {table} TO dragoman_app")
    # All that is there has yet to be counted.
    op.execute("INSERT INTO usage_due SELECT tenant_id, session_id FROM session WHERE next_position > 1")


def downgrade() -> None:
    op.execute(f"DROP TABLE {', '.join(GRANTS)}")
