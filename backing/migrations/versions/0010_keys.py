"""Keys of the HTTP API, what was submitted with them, and who changed what."""

from backing.postgres.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
