"""What dialects remember of what receivers answered, for each webhook and subject."""

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from lockgate.database.tables import remembered


def recall(session: Session, webhook_id: str, subject: str) -> str:
    """Return what is remembered about a subject; nothing if nothing is."""
    its = (remembered.c.webhook_id == webhook_id, remembered.c.subject == subject)
    return session.execute(select(remembered.c.learnt).where(*its)).scalar() or ""


def remember(session: Session, webhook_id: str, subject: str, learnt: str) -> None:
    """Remember something about a subject, unless something is: what came first stays.

    The caller holds the lane that it was told in, so nobody else writes about the subject.
    """
    if not recall(session, webhook_id, subject):
        session.execute(insert(remembered).values(webhook_id=webhook_id, subject=subject, learnt=learnt))


def forget(session: Session, webhook_id: str) -> None:
    """Forget all that is remembered for a webhook; the caller has locked it."""
    session.execute(delete(remembered).where(remembered.c.webhook_id == webhook_id))
