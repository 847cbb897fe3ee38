"""Deliveries: found by time, by the channel's id of a message in them, and by what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

ITEMS = """
-- What stands in each raw delivery. `message_key` is a digest, since the channel's ids hold phone numbers: the first 8
-- bytes of the id's SHA-256, and 0 where an item has none. An index on the delivery's own JSON would not do: row-level
-- security lets an index answer equality and order only.
CREATE TABLE delivery_item (
    tenant_id   uuid NOT NULL,
    message_key bigint NOT NULL,
    at          timestamptz NOT NULL,
    delivery_id uuid NOT NULL,
    result      text NOT NULL,
    PRIMARY KEY (tenant_id, message_key, at, delivery_id, result)
) PARTITION BY RANGE (at);

-- Nearly every delivery brings a message or a status; those are found by walking through the deliveries themselves.
CREATE INDEX delivery_item_by_result ON delivery_item (tenant_id, result, at, delivery_id)
    WHERE result NOT IN ('message', 'status');

ALTER TABLE delivery_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY delivery_item_of_tenant ON delivery_item TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT ON delivery_item TO dragoman_app;

CREATE INDEX raw_delivery_by_time ON raw_delivery (tenant_id, at, delivery_id);
-- From a delivery to its messages; also for erasure, and for what legal holds keep.
CREATE INDEX message_of_delivery ON message (tenant_id, delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX message_status_held ON message_status (tenant_id, received_at) WHERE applied IS NULL;
CREATE INDEX message_status_unmatched ON message_status (tenant_id, received_at)
    WHERE applied = 'no message of ours has this id';
"""

PARTITIONED_BEFORE = "ARRAY['message', 'message_words', 'audit_event', 'raw_delivery', 'outbox_attempt']"
PARTITIONED = "ARRAY['message', 'message_words', 'audit_event', 'raw_delivery', 'delivery_item', 'outbox_attempt']"

FILL = """
INSERT INTO delivery_item (tenant_id, message_key, at, delivery_id, result)
SELECT DISTINCT d.tenant_id,
    CASE WHEN coalesce(i->>'id', '') = '' THEN 0
    ELSE ('x' || substr(encode(sha256(convert_to(i->>'id', 'UTF8')), 'hex'), 1, 16))::bit(64)::bigint END,
    d.at, d.delivery_id, i->>'result'
FROM raw_delivery d CROSS JOIN LATERAL jsonb_array_elements(d.items) AS i WHERE i->>'result' IS NOT NULL
"""


def upgrade() -> None:
    op.execute(ITEMS)
    _partitions(PARTITIONED_BEFORE, PARTITIONED)
    op.execute(
        "SELECT ensure_partitions(min(week), max(week)) FROM ("
        " SELECT to_date(substring(relname FROM 'raw_delivery_(.*)'), 'IYYY\"w\"IW') AS week FROM pg_class"
        " WHERE relname ~ '^raw_delivery_[0-9]{4}w[0-9]{2}$') AS weeks HAVING min(week) IS NOT NULL"
    )
    op.execute(FILL)


def downgrade() -> None:
    _partitions(PARTITIONED, PARTITIONED_BEFORE)
    op.execute("DROP TABLE delivery_item")
    op.execute("DROP INDEX raw_delivery_by_time, message_of_delivery, message_status_held, message_status_unmatched")


def _partitions(old: str, new: str) -> None:
    """The function as it stands, with *new* in the place of *old* as the list of partitioned tables."""
    connection = op.get_bind()
    text = connection.execute(sa.text("SELECT pg_get_functiondef('ensure_partitions(date, date)'::regprocedure)"))
    definition = str(text.scalar_one())
    if old not in definition:
        raise RuntimeError("ensure_partitions does not list its tables as expected")
    connection.exec_driver_sql(definition.replace(old, new).replace("%", "%%"))
