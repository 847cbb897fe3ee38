"""Webhooks of triggers: the keys that sign them, and what waits to be posted, by receiver."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE webhook_key (
    tenant_id    uuid NOT NULL,
    trigger_name text NOT NULL,
    key_id       text NOT NULL,
    secret       bytea NOT NULL,            -- encrypted with the installation's key
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, trigger_name, key_id)
);
ALTER TABLE webhook_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY webhook_key_of_tenant ON webhook_key TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON webhook_key TO dragoman_app;
"""

QUEUE = """
-- What each receiver is still to get, in the order in which it is due.
CREATE INDEX outbox_webhook_due ON outbox_entry (tenant_id, recipient, due_at, sequence)
    WHERE status IN ('PENDING', 'RETRYING') AND channel = 'webhook';
ALTER TABLE send_hold DROP CONSTRAINT send_hold_scope_check,
    ADD CONSTRAINT send_hold_scope_check CHECK (scope IN ('contact', 'number', 'channel', 'receiver'));
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(QUEUE)


def downgrade() -> None:
    op.execute("DELETE FROM send_hold WHERE scope = 'receiver'")
    op.execute(
        "ALTER TABLE send_hold DROP CONSTRAINT send_hold_scope_check, "
        "ADD CONSTRAINT send_hold_scope_check CHECK (scope IN ('contact', 'number', 'channel'))"
    )
    op.execute("DROP INDEX outbox_webhook_due")
    op.execute("DROP TABLE webhook_key")
