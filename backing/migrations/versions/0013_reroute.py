"""Mail that an operator sends through another provider."""

from backing.postgres.migrate import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
