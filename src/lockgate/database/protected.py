"""Which targets the policy in force protects, as the guard's triggers know it."""

from collections.abc import Collection

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from lockgate.database.tables import protected
from lockgate.promotions.target import Target


def read(session: Session) -> frozenset[str]:
    """Return the targets that the triggers protect."""
    return frozenset(session.execute(select(protected.c.target)).scalars())


def renew(session: Session, targets: Collection[Target]) -> None:
    """Protect these targets and no others."""
    wanted, found = {str(target) for target in targets}, read(session)
    if gone := found - wanted:
        session.execute(delete(protected).where(protected.c.target.in_(gone)))
    if new := wanted - found:
        session.execute(insert(protected), [{"target": target} for target in sorted(new)])
