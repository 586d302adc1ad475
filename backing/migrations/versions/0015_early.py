"""Orders for mail that no worker has written down yet, and what was ordered last of a recipient."""

from backing.postgres.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
