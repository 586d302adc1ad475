"""Passwords that are exchanged, credentials that end, when they were used, and calls that are repeated."""

from backing.postgres.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
