"""Messages that the HTTP API has accepted and no worker has taken yet, found by their ids."""

from backing.postgres.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
