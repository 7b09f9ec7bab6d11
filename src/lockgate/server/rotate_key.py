"""`lockgate rotate-key`: everything that is encrypted at rest, with the first key of LOCKGATE_SECRET_KEY."""

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.migrate import NEWER, Schema, schema_of
from lockgate.errors import Conflict
from lockgate.workflow.secret_keys import Rotated, rotate

_SERVES = NEWER | {Schema.CURRENT}


def rotate_key(uri: str) -> list[str]:
    """Encrypt anew what was encrypted with another key than the first.

    Args:
        uri: The database of registered models, as a role that may change its rows, such as the server's.

    Returns:
        What was done and what comes next, in sentences.

    Raises:
        Conflict: if the database is none of Lockgate's, or there is no secret key.
        BadInput: if a key is malformed, or one is missing: then nothing is changed.
    """
    engine = engine_for(real_uri(uri))
    if schema_of(engine) not in _SERVES:
        raise Conflict("This version of Lockgate has never served this database. Is the URI right?")
    done = rotate(engine)
    return [*(sentence for one in done for sentence in _told(one)), _next(done)]


def _told(one: Rotated) -> list[str]:
    told = [f"{one.kind.many}: {one.anew} encrypted anew, {one.before} had the first key already."]
    if one.unopened:
        told.append(
            f"{one.kind.many} that no key opens, left as they are: {', '.join(one.unopened)}. MLflow can't read these "
            "either."
        )
    return told


def _next(done: list[Rotated]) -> str:
    if any(one.anew for one in done):
        return (
            "Once every server has started with this first key, run this again: what servers have written meanwhile "
            "may have another one. When it finds nothing more, the other keys can go."
        )
    return "Everything has the first key. If every server has started with it as the first, the other keys can go."
