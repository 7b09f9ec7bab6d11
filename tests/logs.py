"""A database with nothing but our tables, and an empty audit log: made in a moment."""

import secrets

from sqlalchemy import Engine, insert

from lockgate.audit.chain import START
from lockgate.database import tables
from lockgate.database.engine import MIGRATES, engine_for, real_uri


def new_log(uri: str) -> Engine:
    engine = engine_for(real_uri(uri))
    with engine.execution_options(**{MIGRATES: True}).begin() as connection:
        tables.metadata.create_all(connection)
        head = {"id": 1, "number": START.number, "hash": START.hash, "log_id": secrets.token_hex(16)}
        connection.execute(insert(tables.chain_head).values(head))
    return engine
