"""PgQueuer's own tables, made by PgQueuer's own statements, for the application's role to use."""

from alembic import op
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("pgqueuer", "pgqueuer_log", "pgqueuer_statistics", "pgqueuer_schedules")


def upgrade() -> None:
    op.get_bind().exec_driver_sql(QueryBuilderEnvironment().build_install_query().replace("%", "%%"))
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO dragoman_app")
    # Readiness compares the schema's revision with the code's.
    op.execute("GRANT SELECT ON alembic_version TO dragoman_app")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO dragoman_app")


def downgrade() -> None:
    op.get_bind().exec_driver_sql(QueryBuilderEnvironment().build_uninstall_query().replace("%", "%%"))
