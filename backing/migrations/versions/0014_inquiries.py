"""Questions to workers about providers, and under which key secrets are sealed."""

from backing.postgres.migrate import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
