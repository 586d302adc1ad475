"""Alembic's entry: runs the migrations on the connection that `backing.postgres.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
context.run_migrations()
