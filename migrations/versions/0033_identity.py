"""Who wrote and what they refer to: spellings of one number, all that a contact was known by, marks and echoes.

Decision page: 0047 (what happens to real people's messages).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dragoman.domain import search_words
from dragoman.numbering import person_key

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

PART = 5_000

IDENTITIES = """
-- A group of a channel is known like a person: it has a thread of its own.
ALTER TABLE contact_identity DROP CONSTRAINT contact_identity_kind_check;
ALTER TABLE contact_identity ADD CONSTRAINT contact_identity_kind_check
    CHECK (kind IN ('wa_id', 'wa_user_id', 'wa_group', 'email'));

-- What all spellings of one person's number have in common; for other kinds the value.
ALTER TABLE contact_identity ADD COLUMN match_key text;
UPDATE contact_identity SET match_key = value;
ALTER TABLE contact_identity ALTER COLUMN match_key SET NOT NULL;
CREATE INDEX contact_identity_by_match ON contact_identity (tenant_id, kind, match_key);

ALTER TABLE business_partner_phone ADD COLUMN match_key text;
UPDATE business_partner_phone SET match_key = ltrim(phone, '+');
ALTER TABLE business_partner_phone ALTER COLUMN match_key SET NOT NULL;
CREATE INDEX business_partner_phone_by_match ON business_partner_phone (tenant_id, match_key);

ALTER TABLE contact ADD COLUMN username text;
-- Until now a number or a general word stood for the name of somebody who gave none.
UPDATE contact SET display_name = '' WHERE display_name = phone OR display_name = 'WhatsApp user';
UPDATE session SET contact_name = '' WHERE contact_name = contact_phone OR contact_name = 'WhatsApp user';
"""

ALIASES = """
-- All that a contact was ever known by: what a search finds, long after it has changed.
CREATE TABLE contact_alias (
    tenant_id     uuid NOT NULL,
    contact_id    uuid NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('number', 'user_id', 'username', 'name', 'email')),
    value         text NOT NULL,
    words         tsvector NOT NULL,
    first_seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, contact_id, kind, value)
);
CREATE INDEX contact_alias_by_digits ON contact_alias USING gin (phone_grams(tenant_id, value))
    WITH (fastupdate = off) WHERE kind = 'number';
CREATE INDEX contact_alias_by_words ON contact_alias USING gin (words) WITH (fastupdate = off);
ALTER TABLE contact_alias ENABLE ROW LEVEL SECURITY;
CREATE POLICY contact_alias_of_tenant ON contact_alias TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON contact_alias TO dragoman_app;

INSERT INTO contact_alias (tenant_id, contact_id, kind, value, words, first_seen_at)
    SELECT tenant_id, contact_id, CASE kind WHEN 'wa_id' THEN 'number' WHEN 'email' THEN 'email' ELSE 'user_id' END,
        value, ''::tsvector, created_at FROM contact_identity
    UNION SELECT tenant_id, contact_id, 'number', ltrim(phone, '+'), ''::tsvector, created_at FROM contact
        WHERE phone IS NOT NULL
    UNION SELECT tenant_id, contact_id, 'name', display_name, ''::tsvector, created_at FROM contact
        WHERE display_name <> ''
    ON CONFLICT DO NOTHING;
-- Numbers that are somebody else's by now stand on the rows of the sessions from then.
INSERT INTO contact_alias (tenant_id, contact_id, kind, value, words, first_seen_at)
    SELECT tenant_id, contact_id, 'number', ltrim(contact_phone, '+'), ''::tsvector, min(started_at) FROM session
    WHERE contact_phone IS NOT NULL GROUP BY 1, 2, 4
    ON CONFLICT DO NOTHING;
INSERT INTO contact_alias (tenant_id, contact_id, kind, value, words, first_seen_at)
    SELECT tenant_id, contact_id, 'name', contact_name, ''::tsvector, min(started_at) FROM session
    WHERE contact_name <> '' GROUP BY 1, 2, 4
    ON CONFLICT DO NOTHING;

-- Doors through row-level security that name the same tenant as the policies do; see 0008.
CREATE FUNCTION contacts_with_number(parts text[], patterns text[], most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY parts LOOP
        RETURN QUERY
        SELECT DISTINCT a.contact_id FROM contact_alias a
        WHERE a.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid AND a.kind = 'number'
          AND phone_grams(a.tenant_id, a.value)
              @> phone_grams(nullif(current_setting('app.tenant', true), '')::uuid, part)
          AND '+' || a.value LIKE ANY (patterns)
        LIMIT most;
    END LOOP;
END $$;
CREATE FUNCTION contacts_with_words(query tsquery, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT a.contact_id FROM contact_alias a
    WHERE a.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid AND a.words @@ query
    LIMIT most;
END $$;
REVOKE ALL ON FUNCTION contacts_with_number, contacts_with_words FROM PUBLIC;
GRANT EXECUTE ON FUNCTION contacts_with_number, contacts_with_words TO dragoman_app;
DROP FUNCTION contacts_with_digits(text, integer);
DROP INDEX contact_by_digits;
"""

MESSAGES = """
-- A message is known by its account and the channel's id of it, and by nothing that may differ between deliveries.
UPDATE mailbox m SET channel_message_id = m.channel_message_id || '#' || m.fingerprint
    WHERE EXISTS (SELECT FROM mailbox f WHERE f.tenant_id = m.tenant_id
        AND f.channel_account_id = m.channel_account_id AND f.channel_message_id = m.channel_message_id
        AND f.arrival < m.arrival);
DO $$ BEGIN
    EXECUTE (SELECT 'ALTER TABLE mailbox DROP CONSTRAINT ' || quote_ident(conname) FROM pg_constraint
        WHERE conrelid = 'mailbox'::regclass AND contype = 'u');
END $$;
ALTER TABLE mailbox ADD CONSTRAINT mailbox_message UNIQUE (tenant_id, channel_account_id, channel_message_id);
ALTER TABLE mailbox
    ADD COLUMN held_until timestamptz,         -- what it refers to has not come yet: it waits for that until then
    ADD COLUMN from_us boolean NOT NULL DEFAULT false;   -- the business wrote it, outside of Dragoman
ALTER TABLE mailbox ADD COLUMN author text;      -- who wrote it, where that is not the contact
CREATE INDEX mailbox_held ON mailbox (tenant_id, contact_id) WHERE held_until IS NOT NULL;

-- Where staff answered by another way, the bot keeps silent for a while.
ALTER TABLE thread ADD COLUMN silent_until timestamptz;

-- How many items a transcript has is one thing, how many of them are messages another: marks are none.
DROP INDEX session_by_messages;
ALTER TABLE session RENAME COLUMN message_count TO item_count;
ALTER TABLE session ADD COLUMN message_count integer NOT NULL DEFAULT 0;
UPDATE session SET message_count = item_count;
UPDATE session s SET message_count = s.item_count - m.marks FROM (
    SELECT tenant_id, session_id, count(*) AS marks FROM message
    WHERE kind IN ('reaction', 'edit', 'revoke') GROUP BY 1, 2) m
    WHERE s.tenant_id = m.tenant_id AND s.session_id = m.session_id;
CREATE INDEX session_by_messages ON session (tenant_id, message_count DESC, session_id DESC);
"""


def upgrade() -> None:
    op.execute(IDENTITIES)
    op.execute(ALIASES)
    op.execute(MESSAGES)
    _fill_keys("contact_identity", "value", "kind = 'wa_id'")
    _fill_keys("business_partner_phone", "phone", "true")
    _fill_words()


def downgrade() -> None:
    op.execute(
        "DROP INDEX session_by_messages; ALTER TABLE session DROP COLUMN message_count; "
        "ALTER TABLE session RENAME COLUMN item_count TO message_count; "
        "CREATE INDEX session_by_messages ON session (tenant_id, message_count DESC, session_id DESC); "
        "ALTER TABLE thread DROP COLUMN silent_until; "
        "ALTER TABLE mailbox DROP COLUMN author, DROP COLUMN from_us, DROP COLUMN held_until, "
        "DROP CONSTRAINT mailbox_message; "
        "ALTER TABLE mailbox ADD UNIQUE (tenant_id, channel_account_id, channel_message_id, fingerprint); "
        "DROP FUNCTION contacts_with_words(tsquery, integer); "
        "DROP FUNCTION contacts_with_number(text[], text[], integer); "
        "DROP TABLE contact_alias; "
        "CREATE INDEX contact_by_digits ON contact USING gin (phone_grams(tenant_id, ltrim(phone, '+'))) "
        "WITH (fastupdate = off) WHERE phone IS NOT NULL; "
        "ALTER TABLE contact DROP COLUMN username; "
        "ALTER TABLE business_partner_phone DROP COLUMN match_key; "
        "ALTER TABLE contact_identity DROP COLUMN match_key; "
        "DELETE FROM contact_identity WHERE kind = 'wa_group'; "
        "ALTER TABLE contact_identity DROP CONSTRAINT contact_identity_kind_check; "
        "ALTER TABLE contact_identity ADD CONSTRAINT contact_identity_kind_check "
        "CHECK (kind IN ('wa_id', 'wa_user_id', 'email'));"
    )
    op.execute(CONTACTS_WITH_DIGITS)


CONTACTS_WITH_DIGITS = """
CREATE FUNCTION contacts_with_digits(digits text, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    SELECT c.contact_id FROM contact c
    WHERE c.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid AND c.phone IS NOT NULL
      AND phone_grams(c.tenant_id, ltrim(c.phone, '+'))
          @> phone_grams(nullif(current_setting('app.tenant', true), '')::uuid, digits)
      AND strpos(c.phone, digits) > 0
    LIMIT most;
END $$;
REVOKE ALL ON FUNCTION contacts_with_digits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION contacts_with_digits TO dragoman_app;
"""


def _fill_keys(table: str, column: str, where: str) -> None:
    """Numbers whose key is not their own digits: few, but in some countries every one."""
    connection = op.get_bind()
    every = sa.text(f"SELECT tenant_id, {column} AS number FROM {table} WHERE {where}")
    update = sa.text(
        f"UPDATE {table} SET match_key = :key WHERE tenant_id = :tenant AND {column} = :number AND {where}"
    )
    for part in connection.execute(every.execution_options(stream_results=True)).mappings().partitions(PART):
        changed = [
            {"tenant": row["tenant_id"], "number": row["number"], "key": key}
            for row in part
            if (key := person_key(row["number"])) != row["number"].lstrip("+")
        ]
        if changed:
            connection.execute(update, changed)


def _fill_words() -> None:
    connection = op.get_bind()
    every = sa.text("SELECT tenant_id, contact_id, kind, value FROM contact_alias")
    update = sa.text(
        "UPDATE contact_alias SET words = CAST(:words AS tsvector) WHERE tenant_id = :tenant_id "
        "AND contact_id = :contact_id AND kind = :kind AND value = :value"
    )
    for part in connection.execute(every.execution_options(stream_results=True)).mappings().partitions(PART):
        connection.execute(
            update, [{**row, "words": search_words.vector(row["tenant_id"], row["value"])} for row in part]
        )
