"""What accounts are told of their mail: the outbox, the endpoints it goes to, and what became of each post."""

from backing.postgres.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
