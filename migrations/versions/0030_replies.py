"""What agents answer with: canned replies, and the message templates that the channel knows."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

CANNED_REPLIES = """
CREATE TABLE canned_reply (
    tenant_id       uuid NOT NULL,
    canned_reply_id uuid NOT NULL,
    shortcut        text NOT NULL,           -- what an agent types to find it
    language        text NOT NULL,           -- empty: for any
    title           text NOT NULL,
    body            text NOT NULL,           -- with its variables in braces
    changed_at      timestamptz NOT NULL,
    changed_by      text NOT NULL,
    PRIMARY KEY (tenant_id, canned_reply_id),
    UNIQUE (tenant_id, shortcut, language)
);
"""

# Templates belong to the business account: each of its numbers may send them.
TEMPLATES = """
CREATE TABLE message_template (
    tenant_id           uuid NOT NULL,
    waba_id             text NOT NULL,
    name                text NOT NULL,
    language            text NOT NULL,       -- as the channel writes it: en, en_US
    channel_template_id text NOT NULL,
    category            text NOT NULL,       -- marketing, utility, authentication
    status              text NOT NULL,       -- the channel's word
    quality             text NOT NULL,       -- the channel's word; empty: unknown
    is_named            boolean NOT NULL,    -- its parameters have names, not numbers
    header_format       text NOT NULL,       -- text, image, video, document; empty: it has no header
    header              text NOT NULL,
    body                text NOT NULL,
    footer              text NOT NULL,
    buttons             jsonb NOT NULL,
    unsupported         jsonb NOT NULL,      -- parts that cannot be filled here, so that it cannot be sent
    synchronised_at     timestamptz NOT NULL,  -- when the channel was asked that answered with it
    heard_at            timestamptz,         -- the latest notice of the channel about it
    gone_at             timestamptz,         -- the channel does not list it any more
    PRIMARY KEY (tenant_id, waba_id, name, language)
);

CREATE TABLE template_synchronisation (
    tenant_id    uuid NOT NULL,
    waba_id      text NOT NULL,
    due_at       timestamptz NOT NULL,
    tried_at     timestamptz,
    succeeded_at timestamptz,
    skipped      int NOT NULL DEFAULT 0,     -- templates in the latest answer that could not be read
    failure      text NOT NULL DEFAULT '',   -- of the latest attempt
    PRIMARY KEY (tenant_id, waba_id)
);
"""

TABLES = ("canned_reply", "message_template", "template_synchronisation")


def upgrade() -> None:
    op.execute(CANNED_REPLIES)
    op.execute(TEMPLATES)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO dragoman_app")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
