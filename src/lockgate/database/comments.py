"""Comments on versions, apart from any request."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.orm import Session

from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import comments, models, principals, versions


@dataclass(frozen=True)
class Comment:
    """What somebody said about a version."""

    id: int
    model_id: str
    model: str
    version: int
    author_id: int
    author: str
    text: str
    at: datetime
    edited_at: datetime


def add(session: Session, workspace: str, version_id: str, author_id: int, text: str, at: datetime) -> Comment:
    """Add a comment to a version of a workspace."""
    statement = insert(comments).values(
        version_id=version_id, author_id=author_id, comment=text, at=to_ms(at), edited_at=to_ms(at)
    )
    added = find(session, workspace, session.execute(statement.returning(comments.c.id)).scalar_one())
    assert added is not None
    return added


def find(session: Session, workspace: str, comment_id: int) -> Comment | None:
    """Return a comment by its number; None if its version is gone, or it is in another workspace."""
    row = session.execute(
        select(comments, models.c.id.label("model_id"), models.c.name, versions.c.number, principals.c.name.label("by"))
        .join(versions, comments.c.version_id == versions.c.id)
        .join(models, versions.c.model_id == models.c.id)
        .join(principals, comments.c.author_id == principals.c.id)
        .where(
            comments.c.id == comment_id,
            models.c.workspace == workspace,
            models.c.deleted_at.is_(None),
            versions.c.deleted_at.is_(None),
        )
    ).first()
    return _comment(row) if row else None


def set_text(session: Session, comment_id: int, text: str, at: datetime) -> None:
    """Replace what a comment says."""
    session.execute(update(comments).where(comments.c.id == comment_id).values(comment=text, edited_at=to_ms(at)))


def remove(session: Session, comment_id: int) -> None:
    """Delete a comment."""
    session.execute(delete(comments).where(comments.c.id == comment_id))


def _comment(row: Row[tuple[object, ...]]) -> Comment:
    return Comment(
        id=row.id,
        model_id=row.model_id,
        model=row.name,
        version=row.number,
        author_id=row.author_id,
        author=row.by,
        text=row.comment,
        at=from_ms(row.at),
        edited_at=from_ms(row.edited_at),
    )
