"""Runs our migrations on the connection that `migrate` hands over."""

from alembic import context

from lockgate.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="lockgate_alembic_version",
)
with context.begin_transaction():
    context.run_migrations()
