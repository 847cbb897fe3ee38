"""Where each message stands in its raw delivery, who a contact was before, and what the channel says of itself."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE mailbox
    ADD COLUMN group_id text,
    ADD COLUMN attached_to text,               -- the message that it came with: handled with that one
    ADD COLUMN frequently_forwarded boolean NOT NULL DEFAULT false,
    ADD COLUMN delivery_id uuid,               -- the raw delivery, whose time is received_at
    ADD COLUMN delivery_item integer;          -- the place in it, from 0
ALTER TABLE message
    ADD COLUMN group_id text,
    ADD COLUMN frequently_forwarded boolean NOT NULL DEFAULT false,
    ADD COLUMN delivery_id uuid,               -- the raw delivery, whose time is at
    ADD COLUMN delivery_item integer;

-- In a group each participant reads for themselves.
ALTER TABLE message_status ADD COLUMN participant text NOT NULL DEFAULT '';
ALTER TABLE message_status DROP CONSTRAINT message_status_pkey;
ALTER TABLE message_status
    ADD PRIMARY KEY (tenant_id, channel_account_id, channel_message_id, status, channel_at, participant);

-- A number that its owner gave up may be somebody else's later: messages from after ended_at are not this contact's.
ALTER TABLE contact_identity ADD COLUMN ended_at timestamptz;

-- A contact that turned out to be another one: its identities lead to that one at once, its threads follow.
ALTER TABLE contact
    ADD COLUMN same_as uuid,
    ADD COLUMN marketing_stopped_at timestamptz;
CREATE INDEX contact_same_as ON contact (tenant_id, contact_id) WHERE same_as IS NOT NULL;

-- What is known of a contact's identities and wishes, and since when: appended, never changed.
CREATE TABLE contact_history (
    tenant_id   uuid NOT NULL,
    contact_id  uuid NOT NULL,
    history_id  uuid NOT NULL,
    at          timestamptz NOT NULL,
    what        text NOT NULL,
    detail      jsonb NOT NULL,
    delivery_id uuid,
    PRIMARY KEY (tenant_id, contact_id, history_id)
);

-- What the channel says of our own accounts: restrictions, violations, quality, limits, reviews.
CREATE TABLE channel_event (
    tenant_id          uuid NOT NULL,
    event_id           uuid NOT NULL,
    at                 timestamptz NOT NULL,
    channel            text NOT NULL,
    channel_account_id uuid,                   -- NULL: it concerns every number of waba_id
    waba_id            text,
    field              text NOT NULL,
    event              text NOT NULL,
    severity           text NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    summary            text NOT NULL,
    raw                jsonb NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX channel_event_recent ON channel_event (tenant_id, at DESC);
"""

APPEND_ONLY = ("contact_history", "channel_event")


def upgrade() -> None:
    op.execute(TABLES)
    for table in APPEND_ONLY:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE channel_event, contact_history")
    op.execute("ALTER TABLE contact DROP COLUMN marketing_stopped_at, DROP COLUMN same_as")
    op.execute("ALTER TABLE contact_identity DROP COLUMN ended_at")
    op.execute("ALTER TABLE message_status DROP CONSTRAINT message_status_pkey")
    op.execute("DELETE FROM message_status WHERE participant <> ''")
    op.execute("ALTER TABLE message_status DROP COLUMN participant")
    op.execute(
        "ALTER TABLE message_status "
        "ADD PRIMARY KEY (tenant_id, channel_account_id, channel_message_id, status, channel_at)"
    )
    op.execute("ALTER TABLE mailbox DROP COLUMN attached_to")
    for table in ("message", "mailbox"):
        op.execute(
            f"ALTER TABLE {table} DROP COLUMN delivery_item, DROP COLUMN delivery_id, "
            "DROP COLUMN frequently_forwarded, DROP COLUMN group_id"
        )
