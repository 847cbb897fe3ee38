"""What the lists ask for: indexes of the session row, digits of phone numbers, words of the transcripts.

Decision pages: 0013 (list queries), 0014 (full-text search).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dragoman.domain import search_words

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SESSION = """
ALTER TABLE session ADD COLUMN lasted_ms bigint NOT NULL GENERATED ALWAYS AS (
    (extract(epoch FROM coalesce(resolved_at, last_activity_at) - started_at) * 1000)::bigint) STORED;

CREATE INDEX session_by_account ON session
    (tenant_id, channel_account_id, last_activity_at DESC, session_id DESC);
CREATE INDEX session_by_start ON session (tenant_id, started_at DESC, session_id DESC);
CREATE INDEX session_by_length ON session (tenant_id, lasted_ms DESC, session_id DESC);
CREATE INDEX session_by_messages ON session (tenant_id, message_count DESC, session_id DESC);
-- Few sessions have these: the others cost nothing here.
CREATE INDEX session_by_partner ON session
    (tenant_id, business_partner_id, last_activity_at DESC, session_id DESC) WHERE business_partner_id IS NOT NULL;
CREATE INDEX session_by_agent ON session
    (tenant_id, agent_name, last_activity_at DESC, session_id DESC) WHERE agent_name IS NOT NULL;
CREATE INDEX session_with_errors ON session
    (tenant_id, last_activity_at DESC, session_id DESC) WHERE error_count > 0;

-- Which values come together: a pair that hardly exists must not be looked for along the newest sessions.
CREATE STATISTICS session_facets (dependencies, mcv) ON tenant_id, state, outcome, skill, intent FROM session;
"""

PHONES = """
-- Every three digits in a row of a number, with the tenant before them, so that any part of it finds it.
CREATE FUNCTION phone_grams(tenant uuid, digits text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    ARRAY(SELECT DISTINCT tenant || substr(digits, i, 3) FROM generate_series(1, length(digits) - 2) AS i);

CREATE INDEX contact_by_digits ON contact USING gin (phone_grams(tenant_id, ltrim(phone, '+'))) WITH (fastupdate = off)
    WHERE phone IS NOT NULL;

-- A door through row-level security that names the same tenant as the policy does. Under the policy itself the
-- index could not be used: its operators are not marked leakproof.
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
GRANT EXECUTE ON FUNCTION phone_grams TO dragoman_app;
"""

WORDS = """
-- The words of each message, and as ordinal 0 those of the contact's name. Partitioned like the messages, so that
-- retention drops both.
CREATE TABLE message_words (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    ordinal    integer NOT NULL,
    at         timestamptz NOT NULL,
    words      tsvector NOT NULL,
    PRIMARY KEY (tenant_id, session_id, ordinal, at)
) PARTITION BY RANGE (at);
-- Every word bears its tenant's tag, so that this index, too, begins with the tenant. No pending list: no writer
-- pays for the others, no reader searches what is not sorted in.
CREATE INDEX message_words_found ON message_words USING gin (words) WITH (fastupdate = off);

ALTER TABLE message_words ENABLE ROW LEVEL SECURITY;
CREATE POLICY message_words_of_tenant ON message_words TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT ON message_words TO dragoman_app;

-- As contacts_with_digits: the policy's tenant, and nothing else gets through.
CREATE FUNCTION sessions_with_words(query tsquery, since timestamptz, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    SELECT w.session_id FROM message_words w
    WHERE w.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid
      AND w.at >= since AND w.words @@ query
    LIMIT most;
END $$;
REVOKE ALL ON FUNCTION sessions_with_words FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sessions_with_words TO dragoman_app;
"""

PARTITIONED_BEFORE = "ARRAY['message', 'audit_event', 'raw_delivery', 'outbox_attempt']"
PARTITIONED = "ARRAY['message', 'message_words', 'audit_event', 'raw_delivery', 'outbox_attempt']"


def upgrade() -> None:
    op.execute(SESSION)
    op.execute(PHONES)
    op.execute(WORDS)
    _partitions(PARTITIONED_BEFORE, PARTITIONED)
    op.execute(
        "SELECT ensure_partitions(min(week), max(week)) FROM ("
        " SELECT to_date(substring(relname FROM 'message_(.*)'), 'IYYY\"w\"IW') AS week FROM pg_class"
        " WHERE relname ~ '^message_[0-9]{4}w[0-9]{2}$') AS weeks HAVING min(week) IS NOT NULL"
    )
    _fill()


def downgrade() -> None:
    op.execute("DROP FUNCTION sessions_with_words(tsquery, timestamptz, integer)")
    op.execute("DROP TABLE message_words")
    _partitions(PARTITIONED, PARTITIONED_BEFORE)
    op.execute("DROP FUNCTION contacts_with_digits(text, integer)")
    op.execute("DROP INDEX contact_by_digits")
    op.execute("DROP FUNCTION phone_grams(uuid, text)")
    op.execute("DROP STATISTICS session_facets")
    op.execute(
        "DROP INDEX session_by_account, session_by_start, session_by_length, session_by_messages, "
        "session_by_partner, session_by_agent, session_with_errors"
    )
    op.execute("ALTER TABLE session DROP COLUMN lasted_ms")


def _partitions(old: str, new: str) -> None:
    """The function as it stands, with *new* in the place of *old* as the list of partitioned tables."""
    connection = op.get_bind()
    text = connection.execute(sa.text("SELECT pg_get_functiondef('ensure_partitions(date, date)'::regprocedure)"))
    definition = str(text.scalar_one())
    if old not in definition:
        raise RuntimeError("ensure_partitions does not list its tables as expected")
    connection.exec_driver_sql(definition.replace(old, new).replace("%", "%%"))


def _fill() -> None:
    """The words of what was written before."""
    connection = op.get_bind()
    # By statement: as an option of the connection it would be Alembic's, too.
    every = sa.text("SELECT tenant_id, session_id, ordinal, at, content FROM message")
    messages = connection.execute(every.execution_options(stream_results=True))
    for part in messages.mappings().partitions(1000):
        rows = [
            {**row, "words": search_words.vector(row["tenant_id"], search_words.text_of(row["content"]))}
            for row in part
        ]
        _insert(rows)
    names = connection.execute(
        sa.text(
            "SELECT tenant_id, session_id, 0 AS ordinal, started_at AS at, contact_name, contact_phone, "
            "business_partner_name FROM session WHERE started_at >= (SELECT min(at) FROM message)"
        )
    )
    for part in names.mappings().partitions(1000):
        rows = [
            {
                **row,
                "words": search_words.vector(
                    row["tenant_id"],
                    search_words.name_of(row["contact_name"], row["contact_phone"], row["business_partner_name"]),
                ),
            }
            for row in part
        ]
        _insert(rows)


def _insert(rows: list[dict[str, object]]) -> None:
    found = [row for row in rows if row["words"]]
    if found:
        op.get_bind().execute(
            sa.text(
                "INSERT INTO message_words (tenant_id, session_id, ordinal, at, words) "
                "VALUES (:tenant_id, :session_id, :ordinal, :at, CAST(:words AS tsvector))"
            ),
            found,
        )
