"""Outcomes that a session had before its present one, and an index on replies that did not arrive: each is a filter."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

TABLE = """
-- One row is an outcome that a session had and no longer had later; it may have it again.
CREATE TABLE past_outcome (
    tenant_id  uuid NOT NULL,
    outcome    text NOT NULL,
    session_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, outcome, session_id)
);
ALTER TABLE past_outcome ENABLE ROW LEVEL SECURITY;
CREATE POLICY past_outcome_of_tenant ON past_outcome TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT ON past_outcome TO dragoman_app;
"""

FILL = """
INSERT INTO past_outcome
SELECT DISTINCT e.tenant_id, e.payload->>'outcome', e.session_id
FROM audit_event e JOIN session s ON s.tenant_id = e.tenant_id AND s.session_id = e.session_id
WHERE e.type = 'outcome.assigned' AND e.payload->>'outcome' NOT IN (s.outcome, 'IN_PROGRESS')
"""

INDEX = """
CREATE INDEX outbox_undelivered ON outbox_entry (tenant_id, session_id)
    WHERE message_id IS NOT NULL AND (delivery = 'failed' OR delivery IS NULL AND status = 'FAILED')
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(FILL)
    op.execute(INDEX)


def downgrade() -> None:
    op.execute("DROP INDEX outbox_undelivered")
    op.execute("DROP TABLE past_outcome")
