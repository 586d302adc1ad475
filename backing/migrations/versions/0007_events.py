"""What providers tell after the send, and addresses that are suppressed for one stream."""

from backing.postgres.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
