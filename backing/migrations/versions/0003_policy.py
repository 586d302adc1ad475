"""What accounts may do: options and quotas, chosen passwords, source networks, certificates, suppression."""

from backing.postgres.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__, "up")


def downgrade() -> None:
    run_sql(__file__, "down")
