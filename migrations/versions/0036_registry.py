"""The registry's history: every version that a skill ever had, and who registered, retired or restored it, and why."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

TABLE = """
-- What happened to each skill, from 1 on in the order in which it happened. The table of skills has one row for each
-- version, with the latest spec that was registered under it; here each registration keeps its own.
CREATE TABLE skill_change (
    tenant_id  uuid NOT NULL,
    skill      text NOT NULL,
    number     integer NOT NULL CHECK (number > 0),
    at         timestamptz NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('registered', 'retired', 'restored')),
    version    text NOT NULL,
    spec       jsonb,                          -- as it was registered; NULL for the other kinds
    actor_id   uuid,
    actor_name text NOT NULL,
    via        text NOT NULL,                  -- how they were known: session, token, command line, system
    reason     text NOT NULL,
    PRIMARY KEY (tenant_id, skill, number),
    CHECK ((kind = 'registered') = (spec IS NOT NULL))
);
ALTER TABLE skill_change ENABLE ROW LEVEL SECURITY;
CREATE POLICY skill_change_of_tenant ON skill_change TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT ON skill_change TO dragoman_app;
"""

# What was known before there was a history: when each version was registered and which skills are retired. By whom
# stands on the administrators' record, where it was the command line: an action of the same moment.
FILL = """
INSERT INTO skill_change (tenant_id, skill, number, at, kind, version, spec, actor_id, actor_name, via, reason)
SELECT known.tenant_id, known.name,
    row_number() OVER (PARTITION BY known.tenant_id, known.name ORDER BY known.at, known.kind, known.version),
    known.at, known.kind, known.version, known.spec, doer.actor_id, coalesce(doer.actor_name, ''),
    coalesce(doer.actor_name, ''), ''
FROM (
    SELECT tenant_id, name, registered_at AS at, 'registered' AS kind, version, spec FROM skill
    UNION ALL
    SELECT tenant_id, name, retired_at, 'retired', version, NULL FROM skill WHERE current AND retired_at IS NOT NULL
) AS known
LEFT JOIN LATERAL (
    SELECT a.actor_id, a.actor_name FROM administrator_action a
    WHERE a.tenant_id = known.tenant_id AND a.object_id = known.name AND a.action = 'skill.' || known.kind
        AND a.at BETWEEN known.at - interval '1 minute' AND known.at + interval '1 minute'
    ORDER BY a.at DESC LIMIT 1
) AS doer ON true
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(FILL)


def downgrade() -> None:
    op.execute("DROP TABLE skill_change")
