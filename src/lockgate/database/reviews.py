"""Reviews of promotion requests, and who is asked to give one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from lockgate.database import people
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import principals, requests, review_requests, reviews
from lockgate.promotions.request import PromotionRequest
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Review, Verdict

# Composed once: that takes longer than asking.
_REVIEWS = (
    people.STANDING.add_columns(
        reviews.c.id.label("review_id"),
        *(column for column in reviews.c if column.name not in ("id", "reviewer_id")),
    )
    .join(reviews, reviews.c.reviewer_id == principals.c.id)
    .where(reviews.c.request_id.in_(bindparam("ids", expanding=True)))
    .order_by(reviews.c.id)
)
_ASKED = (
    select(review_requests.c.request_id, principals.c.name)
    .join(principals, review_requests.c.principal_id == principals.c.id)
    .where(review_requests.c.request_id.in_(bindparam("ids", expanding=True)))
    .order_by(principals.c.name)
)


def add(
    session: Session,
    request: PromotionRequest,
    reviewer_id: int,
    verdict: Verdict,
    comment: str,
    at: datetime,
) -> None:
    """Add a review, bound to the evidence that the request has now."""
    session.execute(
        insert(reviews).values(
            request_id=request.id,
            reviewer_id=reviewer_id,
            verdict=verdict,
            comment=comment,
            evidence_digest=request.evidence_digest,
            at=to_ms(at),
        )
    )


def of_requests(session: Session, request_ids: Iterable[int]) -> dict[int, list[Review]]:
    """Return the reviews of requests, oldest first, with their givers' standing of now."""
    rows = session.execute(_REVIEWS, {"ids": list(request_ids)})
    found: dict[int, list[Review]] = {}
    for _, of_one in groupby(rows, key=lambda row: row.review_id):
        standing = list(of_one)
        row = standing[0]
        review = Review(
            row.review_id,
            people.principal(standing),
            Verdict(row.verdict),
            row.comment,
            row.evidence_digest,
            from_ms(row.at),
            row.dismissed or "",
            row.lifted_at is not None,
        )
        found.setdefault(row.request_id, []).append(review)
    return found


def dismiss_approvals(session: Session, request_id: int, because: str) -> list[int]:
    """Void the approvals of a request that still count; return the ids of those who gave them."""
    void = (
        update(reviews)
        .where(
            reviews.c.request_id == request_id,
            reviews.c.verdict == Verdict.APPROVE,
            reviews.c.dismissed.is_(None),
        )
        .values(dismissed=because)
        .returning(reviews.c.reviewer_id)
    )
    return sorted(set(session.execute(void).scalars()))


def ask(
    session: Session, request_id: int, principal_ids: Iterable[int], asked_by_id: int | None, now: datetime
) -> None:
    """Ask people to review, or to review again."""
    wanted = list(principal_ids)
    session.execute(
        delete(review_requests).where(
            review_requests.c.request_id == request_id, review_requests.c.principal_id.in_(wanted)
        )
    )
    for principal_id in wanted:
        session.execute(
            insert(review_requests).values(
                request_id=request_id, principal_id=principal_id, asked_by_id=asked_by_id, at=to_ms(now)
            )
        )


def no_longer_asked(session: Session, request_id: int, principal_id: int) -> None:
    """Take somebody who has reviewed off the list of those who are asked to."""
    session.execute(
        delete(review_requests).where(
            review_requests.c.request_id == request_id, review_requests.c.principal_id == principal_id
        )
    )


def asked_reviewers(session: Session, request_ids: Iterable[int]) -> dict[int, list[str]]:
    """Return the names of those who are asked to review, by request."""
    found: dict[int, list[str]] = {}
    for row in session.execute(_ASKED, {"ids": list(request_ids)}):
        found.setdefault(row.request_id, []).append(row.name)
    return found


@dataclass(frozen=True)
class Rejection:
    """A rejection that nobody has lifted."""

    review_id: int
    request_id: int
    by: str
    by_id: int
    comment: str


def rejections(session: Session, version_id: str, target: Target) -> list[Rejection]:
    """Return the rejections of a version for a target that nobody has lifted."""
    return _rejections(session, requests.c.version_id == version_id, requests.c.target == str(target))


def rejections_of(session: Session, request_id: int) -> list[Rejection]:
    """Return the rejections of a request that nobody has lifted."""
    return _rejections(session, requests.c.id == request_id)


def _rejections(session: Session, *conditions: ColumnElement[bool]) -> list[Rejection]:
    rows = session.execute(
        select(
            reviews.c.id, reviews.c.request_id, reviews.c.reviewer_id, reviews.c.comment, principals.c.name.label("by")
        )
        .join(requests, reviews.c.request_id == requests.c.id)
        .join(principals, reviews.c.reviewer_id == principals.c.id)
        .where(*conditions, reviews.c.verdict == Verdict.REJECT, reviews.c.lifted_at.is_(None))
        .order_by(reviews.c.id)
    )
    return [Rejection(row.id, row.request_id, row.by, row.reviewer_id, row.comment) for row in rows]


def lift_rejection(session: Session, review_id: int, by_id: int, now: datetime) -> None:
    """Let a rejected version be asked for again."""
    session.execute(update(reviews).where(reviews.c.id == review_id).values(lifted_at=to_ms(now), lifted_by_id=by_id))
