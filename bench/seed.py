"""A database as MLflow makes it, with very much in it."""

from pathlib import Path

from bench.databases import Databases
from bench.population import Population
from tests.house import stock_server


def seeded(databases: Databases, population: Population, folder: Path) -> str:
    """Make a database, have MLflow make its schema, and fill it by SQL; returns its URI."""
    uri = databases.new_database()
    server = stock_server(folder, as_stock(uri))
    server.start()
    server.stop()
    for rows in population.rows():
        databases.fill(uri, rows)
    databases.finish(uri)
    return uri


def as_stock(uri: str) -> str:
    """Return a database's URI as a stock server takes it: it can't archive on psycopg 3."""
    return uri.replace("postgresql:", "postgresql+psycopg2:")
