"""The first schema: tenant first in every key, two roles, row-level security, time partitions.

Decision pages: 0002 (tenancy and roles), 0003 (partitions), 0004 (state path).
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE tenant (
    tenant_id  uuid PRIMARY KEY,
    slug       text NOT NULL,
    name       text NOT NULL,
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);

-- How one finds the tenant before there is one: by phone_number_id, slug, login email, token or session digest.
CREATE TABLE directory (
    kind      text NOT NULL,
    key       text NOT NULL,
    tenant_id uuid NOT NULL,
    ref_id    uuid NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX directory_of_tenant ON directory (tenant_id, kind);

CREATE TABLE user_account (
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    email         text NOT NULL,
    name          text NOT NULL,
    password_hash text NOT NULL,
    role          text NOT NULL,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,
    PRIMARY KEY (tenant_id, user_id),
    UNIQUE (tenant_id, email)
);

CREATE TABLE login_session (
    tenant_id    uuid NOT NULL,
    digest       bytea NOT NULL,
    user_id      uuid NOT NULL,
    csrf_token   text NOT NULL,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);

CREATE TABLE api_token (
    tenant_id    uuid NOT NULL,
    token_id     uuid NOT NULL,
    digest       bytea NOT NULL,
    name         text NOT NULL,
    role         text NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (tenant_id, token_id)
);

CREATE TABLE channel_account (
    tenant_id          uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    channel            text NOT NULL CHECK (channel IN ('whatsapp', 'email')),
    address            text NOT NULL,          -- WhatsApp: phone_number_id; email: the mailbox
    display            text NOT NULL,          -- what people know it by: the phone number, the address
    name               text NOT NULL,
    waba_id            text,
    secrets            bytea NOT NULL,         -- encrypted with the installation's key
    created_at         timestamptz NOT NULL,
    disabled_at        timestamptz,
    PRIMARY KEY (tenant_id, channel_account_id),
    UNIQUE (tenant_id, channel, address)
);

CREATE TABLE business_partner (
    tenant_id           uuid NOT NULL,
    business_partner_id uuid NOT NULL,
    number              text NOT NULL,
    name                text NOT NULL,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, business_partner_id),
    UNIQUE (tenant_id, number)
);

CREATE TABLE business_partner_phone (
    tenant_id           uuid NOT NULL,
    phone               text NOT NULL,         -- E.164, with the plus sign
    business_partner_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, phone),
    FOREIGN KEY (tenant_id, business_partner_id) REFERENCES business_partner ON DELETE CASCADE
);

CREATE TABLE contact (
    tenant_id           uuid NOT NULL,
    contact_id          uuid NOT NULL,
    display_name        text NOT NULL,
    phone               text,                  -- E.164; a contact may have none
    locale              text NOT NULL,
    level               smallint NOT NULL DEFAULT 0 CHECK (level BETWEEN 0 AND 2),
    business_partner_id uuid,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, contact_id)
);
CREATE INDEX contact_by_phone ON contact (tenant_id, phone);

CREATE TABLE contact_identity (
    tenant_id  uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('wa_id', 'wa_user_id', 'email')),
    value      text NOT NULL,
    contact_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, value),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contact ON DELETE CASCADE
);
CREATE INDEX contact_identity_of_contact ON contact_identity (tenant_id, contact_id);

CREATE TABLE thread (
    tenant_id          uuid NOT NULL,
    thread_id          uuid NOT NULL,
    contact_id         uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, thread_id),
    UNIQUE (tenant_id, contact_id, channel_account_id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contact,
    FOREIGN KEY (tenant_id, channel_account_id) REFERENCES channel_account
);

-- A row has all that the Conversation Logs list shows, so that the list needs no join.
CREATE TABLE session (
    tenant_id             uuid NOT NULL,
    session_id            uuid NOT NULL,
    thread_id             uuid NOT NULL,
    contact_id            uuid NOT NULL,
    channel_account_id    uuid NOT NULL,
    state                 text NOT NULL,
    state_path            text NOT NULL,       -- states walked by the latest change, '>' between them
    outcome               text NOT NULL,
    outcome_reason        text NOT NULL DEFAULT '',
    intent                text,
    skill                 text,
    contact_name          text NOT NULL,
    contact_phone         text,
    business_partner_id   uuid,
    business_partner_name text,
    channel               text NOT NULL,
    channel_display       text NOT NULL,
    agent_name            text,
    last_user_message     text NOT NULL DEFAULT '',
    message_count         integer NOT NULL DEFAULT 0,
    error_count           integer NOT NULL DEFAULT 0,
    dispatch_count        integer NOT NULL DEFAULT 0,
    misses                integer NOT NULL DEFAULT 0,
    cost_micros           bigint NOT NULL DEFAULT 0,
    awaiting              jsonb,
    started_at            timestamptz NOT NULL,
    last_activity_at      timestamptz NOT NULL,
    resolved_at           timestamptz,
    truncated_at          timestamptz,
    next_position         integer NOT NULL DEFAULT 1,
    head                  bytea,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, thread_id) REFERENCES thread,
    CONSTRAINT session_state_known CHECK (
        state IN ('OPEN', 'ACTIVE', 'AWAITING_USER', 'PROCESSING', 'WITH_AGENT', 'RESOLVED', 'EXPIRED')),
    CONSTRAINT session_outcome_known CHECK (
        outcome IN ('IN_PROGRESS', 'SUCCESS', 'SKILL_ERROR', 'SKILL_RETIRED', 'PARTIAL_FLOW_FAILURE',
                    'BUDGET_EXCEEDED', 'HANDOFF', 'SESSION_BUSY', 'DISPATCH_ORPHANED', 'RATE_LIMITED',
                    'TO_AGENT', 'VERIFICATION_REQUIRED', 'NONE')),
    CONSTRAINT session_path_legal CHECK (state_path_is_legal(state_path, state))
);
CREATE UNIQUE INDEX session_one_in_progress ON session (tenant_id, thread_id)
    WHERE state NOT IN ('RESOLVED', 'EXPIRED');
CREATE INDEX session_recent ON session (tenant_id, last_activity_at DESC, session_id DESC);
CREATE INDEX session_by_state ON session (tenant_id, state, last_activity_at DESC, session_id DESC);
CREATE INDEX session_by_outcome ON session (tenant_id, outcome, last_activity_at DESC, session_id DESC);
CREATE INDEX session_by_skill ON session (tenant_id, skill, last_activity_at DESC, session_id DESC);
CREATE INDEX session_by_intent ON session (tenant_id, intent, last_activity_at DESC, session_id DESC);
CREATE INDEX session_of_contact ON session (tenant_id, contact_id, last_activity_at DESC, session_id DESC);
CREATE INDEX session_of_thread ON session (tenant_id, thread_id, started_at DESC);

-- The transcript: appended, never changed. Edits, deletions and reactions are items of their own.
CREATE TABLE message (
    tenant_id          uuid NOT NULL,
    session_id         uuid NOT NULL,
    ordinal            integer NOT NULL,
    at                 timestamptz NOT NULL,
    message_id         uuid NOT NULL,
    sender             text NOT NULL CHECK (sender IN ('contact', 'bot', 'agent')),
    sender_name        text NOT NULL,
    kind               text NOT NULL,
    content            jsonb NOT NULL,
    channel_at         timestamptz,
    channel_message_id text,
    reply_to           text,
    forwarded          boolean NOT NULL DEFAULT false,
    referral           jsonb,
    dispatch_id        uuid,
    PRIMARY KEY (tenant_id, session_id, ordinal, at)
) PARTITION BY RANGE (at);

CREATE TABLE audit_event (
    tenant_id      uuid NOT NULL,
    session_id     uuid NOT NULL,
    position       integer NOT NULL,
    at             timestamptz NOT NULL,
    type           text NOT NULL,
    schema_version smallint NOT NULL,
    actor_kind     text NOT NULL CHECK (actor_kind IN ('dispatcher', 'agent', 'administrator', 'system')),
    actor_name     text NOT NULL DEFAULT '',
    dispatch_id    uuid,
    trace_id       text,
    payload        jsonb NOT NULL,
    seal           bytea NOT NULL,             -- SHA-256 over the previous seal and this event
    PRIMARY KEY (tenant_id, session_id, position, at)
) PARTITION BY RANGE (at);

CREATE TABLE raw_delivery (
    tenant_id          uuid NOT NULL,
    delivery_id        uuid NOT NULL,
    at                 timestamptz NOT NULL,
    channel            text NOT NULL,
    channel_account_id uuid,
    body               bytea NOT NULL,
    items              jsonb NOT NULL,         -- what became of each item, with the reason where it was left
    PRIMARY KEY (tenant_id, delivery_id, at)
) PARTITION BY RANGE (at);

CREATE TABLE outbox_attempt (
    tenant_id       uuid NOT NULL,
    outbox_entry_id uuid NOT NULL,
    number          integer NOT NULL,
    at              timestamptz NOT NULL,
    result          text NOT NULL CHECK (result IN ('accepted', 'refused', 'unanswered')),
    http_status     integer,
    code            integer,
    answer          jsonb,
    duration_ms     double precision,
    PRIMARY KEY (tenant_id, outbox_entry_id, number, at)
) PARTITION BY RANGE (at);

CREATE SEQUENCE mailbox_arrival;

-- One row is one inbound message AND its one dispatch: unique by the channel's id, pending until done.
CREATE TABLE mailbox (
    tenant_id          uuid NOT NULL,
    message_id         uuid NOT NULL,
    dispatch_id        uuid NOT NULL,
    contact_id         uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    channel_message_id text NOT NULL,
    fingerprint        text NOT NULL,          -- sender, type and time: two messages under one id stay two
    arrival            bigint NOT NULL DEFAULT nextval('mailbox_arrival'),
    received_at        timestamptz NOT NULL,
    channel_at         timestamptz NOT NULL,
    content            jsonb NOT NULL,
    reply_to           text,
    forwarded          boolean NOT NULL DEFAULT false,
    referral           jsonb,
    trace_id           text NOT NULL,
    progress           text NOT NULL DEFAULT 'waiting' CHECK (progress IN ('waiting', 'running', 'done')),
    parts              integer NOT NULL DEFAULT 0,   -- turns on record; a commit whose answer was lost shows here
    session_id         uuid,
    running_skill      text,
    running_attempt    integer,
    outcome            text,
    done_at            timestamptz,
    PRIMARY KEY (tenant_id, message_id),
    UNIQUE (tenant_id, channel_account_id, channel_message_id, fingerprint)
);
CREATE INDEX mailbox_waiting ON mailbox (tenant_id, contact_id, channel_at, arrival) WHERE progress <> 'done';

-- What the channel said of messages of ours; kept even when it comes before we know the message's id.
CREATE TABLE message_status (
    tenant_id          uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    channel_message_id text NOT NULL,
    status             text NOT NULL,
    channel_at         timestamptz NOT NULL,
    received_at        timestamptz NOT NULL,
    errors             jsonb,
    correlation        text,                   -- what we had asked the channel to send back: the outbox entry
    raw                jsonb NOT NULL,
    applied            text,                   -- NULL: not yet; else what was done with it
    PRIMARY KEY (tenant_id, channel_account_id, channel_message_id, status, channel_at)
);
CREATE INDEX message_status_unapplied ON message_status (tenant_id, channel_message_id) WHERE applied IS NULL;

-- Who may act for a contact. The token only grows: an older holder's writes are refused by it.
CREATE TABLE lease (
    tenant_id uuid NOT NULL,
    name      text NOT NULL,
    token     bigint NOT NULL,
    owner     text,
    deadline  timestamptz,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE outbox_entry (
    tenant_id          uuid NOT NULL,
    outbox_entry_id    uuid NOT NULL,
    contact_id         uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    session_id         uuid,
    message_id         uuid,
    channel            text NOT NULL,
    recipient          text NOT NULL,
    recipient_kind     text NOT NULL,
    content            jsonb NOT NULL,
    reply_to           text,
    status             text NOT NULL CHECK (
        status IN ('SCHEDULED', 'PENDING', 'RETRYING', 'SENT', 'FAILED', 'SKIPPED', 'CANCELLED')),
    reason             text NOT NULL DEFAULT '',
    sequence           bigint NOT NULL DEFAULT nextval('mailbox_arrival'),
    attempts           integer NOT NULL DEFAULT 0,
    due_at             timestamptz NOT NULL,
    created_at         timestamptz NOT NULL,
    sent_at            timestamptz,
    channel_message_id text,
    delivery           text CHECK (delivery IN ('sent', 'delivered', 'read', 'failed')),
    PRIMARY KEY (tenant_id, outbox_entry_id)
);
CREATE INDEX outbox_due ON outbox_entry (tenant_id, contact_id, sequence)
    WHERE status IN ('SCHEDULED', 'PENDING', 'RETRYING');
CREATE INDEX outbox_by_channel_message ON outbox_entry (tenant_id, channel_message_id)
    WHERE channel_message_id IS NOT NULL;
CREATE INDEX outbox_of_session ON outbox_entry (tenant_id, session_id);

CREATE TABLE skill (
    tenant_id     uuid NOT NULL,
    name          text NOT NULL,
    version       text NOT NULL,
    spec          jsonb NOT NULL,              -- label, parameters, phrases, level, limits
    registered_at timestamptz NOT NULL,
    retired_at    timestamptz,
    current       boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant_id, name, version)
);
CREATE UNIQUE INDEX skill_current ON skill (tenant_id, name) WHERE current;
"""

FUNCTIONS_BEFORE = """
-- Immutable and free of lookups, so that a CHECK may call it (and a distributed table may carry it).
CREATE FUNCTION state_path_is_legal(path text, state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    (string_to_array(path, '>'))[cardinality(string_to_array(path, '>'))] = state
    AND (SELECT coalesce(bool_and(step IN (
            'OPEN>ACTIVE', 'ACTIVE>AWAITING_USER', 'AWAITING_USER>ACTIVE', 'ACTIVE>PROCESSING',
            'PROCESSING>ACTIVE', 'ACTIVE>WITH_AGENT', 'ACTIVE>RESOLVED', 'WITH_AGENT>RESOLVED',
            'ACTIVE>EXPIRED', 'AWAITING_USER>EXPIRED', 'WITH_AGENT>ACTIVE')), true)
         FROM (SELECT (string_to_array(path, '>'))[i] || '>' || (string_to_array(path, '>'))[i + 1] AS step
               FROM generate_series(1, cardinality(string_to_array(path, '>')) - 1) AS i) AS steps);
"""

FUNCTIONS_AFTER = """
CREATE FUNCTION ensure_partitions(first date, last date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    week date := date_trunc('week', first)::date;
    parent text;
    name text;
    made integer := 0;
BEGIN
    IF last > first + 3700 THEN
        RAISE EXCEPTION 'ensure_partitions: more than ten years asked for';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('dragoman.ensure_partitions'));
    WHILE week <= last LOOP
        FOREACH parent IN ARRAY ARRAY['message', 'audit_event', 'raw_delivery', 'outbox_attempt'] LOOP
            name := parent || '_' || to_char(week, 'IYYY"w"IW');
            IF to_regclass(name) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent,
                               week::timestamp AT TIME ZONE 'UTC', (week + 7)::timestamp AT TIME ZONE 'UTC');
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
                made := made + 1;
            END IF;
        END LOOP;
        week := week + 7;
    END LOOP;
    RETURN made;
END $$;

-- The only doors through row-level security, each as narrow as its one purpose.
CREATE FUNCTION directory_find(wanted_kind text, wanted_key text)
RETURNS TABLE (tenant_id uuid, ref_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.tenant_id, d.ref_id FROM directory d WHERE d.kind = wanted_kind AND d.key = wanted_key;
$$;

CREATE FUNCTION directory_tenants() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.tenant_id FROM tenant t ORDER BY t.created_at, t.tenant_id;
$$;

CREATE FUNCTION directory_receivers(wanted_channel text)
RETURNS TABLE (tenant_id uuid, channel_account_id uuid, address text, display text, waba_id text, secrets bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT a.tenant_id, a.channel_account_id, a.address, a.display, a.waba_id, a.secrets
    FROM channel_account a WHERE a.channel = wanted_channel AND a.disabled_at IS NULL
    ORDER BY a.created_at, a.channel_account_id;
$$;
REVOKE ALL ON FUNCTION ensure_partitions, directory_find, directory_tenants, directory_receivers FROM PUBLIC;
"""

EVERY_TABLE = (
    "tenant", "directory", "user_account", "login_session", "api_token", "channel_account", "business_partner",
    "business_partner_phone", "contact", "contact_identity", "thread", "session", "message", "audit_event",
    "raw_delivery", "outbox_attempt", "mailbox", "message_status", "lease", "outbox_entry", "skill",
)  # fmt: skip

APPEND_ONLY = ("message", "audit_event", "raw_delivery", "outbox_attempt")

UPDATABLE = tuple(t for t in EVERY_TABLE if t not in APPEND_ONLY)

DELETABLE = ("directory", "login_session", "business_partner_phone", "mailbox", "message_status", "lease")


def upgrade() -> None:
    op.execute(FUNCTIONS_BEFORE)
    op.execute(TABLES)
    op.execute(FUNCTIONS_AFTER)
    for table in EVERY_TABLE:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT ON {table} TO dragoman_app")
    for table in UPDATABLE:
        op.execute(f"GRANT UPDATE ON {table} TO dragoman_app")
    for table in DELETABLE:
        op.execute(f"GRANT DELETE ON {table} TO dragoman_app")
    op.execute("GRANT USAGE ON SEQUENCE mailbox_arrival TO dragoman_app")
    for function in (
        "ensure_partitions(date, date)",
        "directory_find(text, text)",
        "directory_tenants()",
        "directory_receivers(text)",
    ):
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO dragoman_app")


def downgrade() -> None:
    op.execute(
        "DROP FUNCTION directory_receivers(text), directory_tenants(), directory_find(text, text), "
        "ensure_partitions(date, date)"
    )
    for table in reversed(EVERY_TABLE):
        op.execute(f"DROP TABLE {table} CASCADE")
    op.execute("DROP SEQUENCE mailbox_arrival")
    op.execute("DROP FUNCTION state_path_is_legal(text, text)")
