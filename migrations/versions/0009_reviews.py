"""Reviewers' notes, tags and marks, apart from the record; what a part of a long transcript needs to be found."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = """
-- What reviewers say of a session. It is not the record: the record's tables are never written for it.
CREATE TABLE review_note (
    tenant_id   uuid NOT NULL,
    session_id  uuid NOT NULL,
    note_id     uuid NOT NULL,
    author_id   uuid,                          -- NULL: written through an API token
    author_name text NOT NULL,
    body        text NOT NULL,
    written_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id, note_id)
);

-- The mark that a deleted note leaves: that there was one, whose, and who took it away.
CREATE TABLE review_note_deleted (
    tenant_id    uuid NOT NULL,
    session_id   uuid NOT NULL,
    note_id      uuid NOT NULL,
    author_name  text NOT NULL,
    written_at   timestamptz NOT NULL,
    deleted_by   text NOT NULL,
    deleted_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id, note_id)
);

CREATE TABLE review_tag (
    tenant_id  uuid NOT NULL,
    tag        text NOT NULL,
    session_id uuid NOT NULL,
    added_by   text NOT NULL,
    added_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, tag, session_id)
);
CREATE INDEX review_tag_of_session ON review_tag (tenant_id, session_id);

CREATE TABLE review_mark (
    tenant_id   uuid NOT NULL,
    session_id  uuid NOT NULL,
    reviewed_by text NOT NULL,
    reviewed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
);

-- What was done to messages later, and what was chosen from them: few of a session's messages.
CREATE INDEX message_marks ON message (tenant_id, session_id, ordinal)
    WHERE kind IN ('reaction', 'edit', 'revoke', 'choice');

-- How far one message got, without all entries of its session.
CREATE INDEX outbox_of_message ON outbox_entry (tenant_id, session_id, message_id);
DROP INDEX outbox_of_session;
"""

# Nothing of it is changed: a note is written or deleted, a mark set or taken back.
REVIEWS = {
    "review_note": "SELECT, INSERT, DELETE",
    "review_note_deleted": "SELECT, INSERT",
    "review_tag": "SELECT, INSERT, DELETE",
    "review_mark": "SELECT, INSERT, DELETE",
}


def upgrade() -> None:
    op.execute(TABLES)
    for table, grants in REVIEWS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT {grants} ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("CREATE INDEX outbox_of_session ON outbox_entry (tenant_id, session_id)")
    op.execute("DROP INDEX outbox_of_message, message_marks")
    op.execute("DROP TABLE review_note, review_note_deleted, review_tag, review_mark")
