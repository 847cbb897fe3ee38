"""Who read what: one row for what somebody reads again and again within an hour."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE access_record (
    tenant_id  uuid NOT NULL,
    access_id  uuid NOT NULL,
    at         timestamptz NOT NULL,           -- of the first time in that hour
    hour       timestamptz NOT NULL,
    actor_id   uuid NOT NULL,                  -- the user's or the token's
    actor_name text NOT NULL,
    via        text NOT NULL CHECK (via IN ('session', 'token')),
    action     text NOT NULL,
    subject    text NOT NULL,                  -- what was read: an id, or the digest of the filters
    session_id uuid,
    contact_id uuid,
    detail     jsonb NOT NULL,
    whole      boolean NOT NULL,               -- numbers were shown
    PRIMARY KEY (tenant_id, access_id),
    CONSTRAINT access_record_hourly UNIQUE (tenant_id, hour, actor_id, action, subject, whole)
);
CREATE INDEX access_record_recent ON access_record (tenant_id, at DESC, access_id DESC);
CREATE INDEX access_record_of_actor ON access_record (tenant_id, actor_name, at DESC, access_id DESC);
CREATE INDEX access_record_of_session ON access_record (tenant_id, session_id, at DESC, access_id DESC)
    WHERE session_id IS NOT NULL;
CREATE INDEX access_record_of_contact ON access_record (tenant_id, contact_id, at DESC, access_id DESC)
    WHERE contact_id IS NOT NULL;
CREATE INDEX administrator_action_of_actor ON administrator_action (tenant_id, actor_name, at DESC, action_id DESC);
CREATE INDEX administrator_action_of_object ON administrator_action (tenant_id, object_id, at DESC, action_id DESC);
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE access_record ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY access_record_of_tenant ON access_record TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT ON access_record TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP INDEX administrator_action_of_actor, administrator_action_of_object")
    op.execute("DROP TABLE access_record")
