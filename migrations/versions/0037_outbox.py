"""The outbox as a list: mail beside chat messages, what sent each entry, and the indexes that its pages read along."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE outbox_entry
    -- A mail may go to somebody who is no contact, a signed webhook from no account.
    ALTER COLUMN contact_id DROP NOT NULL,
    ALTER COLUMN channel_account_id DROP NOT NULL,
    ADD COLUMN subject text NOT NULL DEFAULT '',        -- of a mail; of a WhatsApp template its name
    ADD COLUMN email jsonb,                             -- a composed mail: subject, text, HTML; NULL for a plain reply
    ADD COLUMN trigger_name text NOT NULL DEFAULT '',   -- the automation that sent it; empty for replies
    ADD COLUMN resend_of uuid,                          -- the entry of which it is a copy
    ADD COLUMN possible_duplicate boolean NOT NULL DEFAULT false,   -- tried again although the answer was never seen
    ADD COLUMN listed boolean NOT NULL DEFAULT false,   -- stands in the outbox list: mail, templates, automation
    ADD COLUMN previous_status text,                    -- the one before: the database, too, knows what may follow
    ADD CONSTRAINT outbox_transition_legal CHECK (
        previous_status IS NULL OR previous_status = status OR previous_status || '>' || status IN (
        'CANCELLED>FAILED', 'CANCELLED>SENT', 'FAILED>RETRYING', 'FAILED>SENT', 'PENDING>CANCELLED',
        'PENDING>FAILED', 'PENDING>RETRYING', 'PENDING>SENT', 'PENDING>SKIPPED', 'RETRYING>CANCELLED',
        'RETRYING>FAILED', 'RETRYING>SENT', 'RETRYING>SKIPPED', 'SCHEDULED>CANCELLED',
        'SCHEDULED>PENDING', 'SCHEDULED>SKIPPED', 'SENT>FAILED', 'SENT>RETRYING', 'SKIPPED>FAILED',
        'SKIPPED>SENT'));
"""

FILL = "UPDATE outbox_entry SET listed = true WHERE channel = 'email' OR content->>'kind' = 'template'"

NAMES = "UPDATE outbox_entry SET subject = content->>'name' WHERE content->>'kind' = 'template'"

INDEXES = """
CREATE INDEX outbox_listed ON outbox_entry (tenant_id, created_at, outbox_entry_id) WHERE listed;
-- What was never sent stands before everything that was: an index has one order, and NULL is in none.
CREATE INDEX outbox_listed_sent ON outbox_entry
    (tenant_id, (coalesce(sent_at, '-infinity'::timestamptz)), outbox_entry_id) WHERE listed;
CREATE INDEX outbox_listed_status ON outbox_entry (tenant_id, status, created_at, outbox_entry_id) WHERE listed;
CREATE INDEX outbox_listed_trigger ON outbox_entry (tenant_id, trigger_name, created_at, outbox_entry_id) WHERE listed;
CREATE INDEX outbox_listed_channel ON outbox_entry (tenant_id, channel, created_at, outbox_entry_id) WHERE listed;
-- Also by how a recipient begins, whatever the database's collation.
CREATE INDEX outbox_listed_recipient ON outbox_entry
    (tenant_id, recipient text_pattern_ops, created_at, outbox_entry_id) WHERE listed;
CREATE INDEX outbox_resent ON outbox_entry (tenant_id, resend_of) WHERE resend_of IS NOT NULL;
-- What a mailbox has to send, in the order in which it is due.
CREATE INDEX outbox_mail_due ON outbox_entry (tenant_id, channel_account_id, due_at, sequence)
    WHERE status IN ('PENDING', 'RETRYING') AND channel = 'email';
CREATE INDEX outbox_scheduled ON outbox_entry (tenant_id, due_at) WHERE status = 'SCHEDULED';
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(FILL)
    op.execute(NAMES)
    op.execute(INDEXES)


def downgrade() -> None:
    op.execute(
        "DROP INDEX outbox_listed, outbox_listed_sent, outbox_listed_status, outbox_listed_trigger, "
        "outbox_listed_channel, outbox_listed_recipient, outbox_resent, outbox_mail_due, outbox_scheduled"
    )
    # Without a contact and an account there is no place for them in the table of before.
    op.execute("DELETE FROM outbox_entry WHERE contact_id IS NULL OR channel_account_id IS NULL")
    op.execute(
        "ALTER TABLE outbox_entry DROP COLUMN subject, DROP COLUMN email, DROP COLUMN trigger_name, "
        "DROP COLUMN resend_of, DROP COLUMN possible_duplicate, DROP COLUMN listed, DROP COLUMN previous_status, "
        "ALTER COLUMN contact_id SET NOT NULL, ALTER COLUMN channel_account_id SET NOT NULL"
    )
