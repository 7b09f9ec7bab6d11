"""The history of our tables, kept by Alembic apart from MLflow's."""
