"""Comments on versions: saying something, changing it, taking it back. What was said stays in the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lockgate.access.principals import Principal, current_caller
from lockgate.access.roles import Permission
from lockgate.access.sight import must_see, sees
from lockgate.database import comments
from lockgate.database.comments import Comment
from lockgate.errors import BadInput, NotFound, Refused
from lockgate.events.event import EventType
from lockgate.promotions.request import valid_comment
from lockgate.registry.adoption import identify_version
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.workflow.review import TAKES_PART
from lockgate.workflow.stores import Stores
from lockgate.workflow.submit import check_version

MAX_TEXT = 65_535


def add(stores: Stores, name: str, version: int, text: str) -> Comment:
    """Comment on a version.

    Args:
        stores: The stores.
        name: The model.
        version: The version's number.
        text: What to say.

    Raises:
        BadInput: if there is no text, or too much.
        NotFound: if there is no such version.
        Refused: if the caller may only look.
    """
    said = valid_text(text)
    must_see(current_caller(), name)
    with stores.registry.mutation(name) as begun:
        check_version(stores, begun, version)
        if not any(begun.caller.principal.may(right, name) for right in TAKES_PART):
            raise Refused(f"{begun.caller.principal.name} may only look at '{name}', so not comment either.")
        known = identify_version(begun.session, begun.model, version)
        added = comments.add(begun.session, begun.workspace, known.id, begun.caller.principal.id, said, begun.now)
        begun.record(EventType.COMMENT_CREATED, version=version, after={"comment_id": added.id}, reason=said)
        return added


def edit(stores: Stores, comment_id: int, text: str) -> Comment:
    """Replace what one's own comment says.

    Raises:
        BadInput: if there is no text, or too much.
        NotFound: if there is no such comment.
        Refused: if it is somebody else's.
    """
    said = valid_text(text)
    with _changing(stores, comment_id) as (begun, comment):
        if not _is_mine(begun.caller.principal, comment):
            raise Refused(f"Comment {comment.id} is {comment.author}'s; only {comment.author} can change it.")
        comments.set_text(begun.session, comment.id, said, begun.now)
        begun.record(
            EventType.COMMENT_UPDATED,
            version=comment.version,
            before={"comment": comment.text},
            after={"comment_id": comment.id},
            reason=said,
        )
        return replace(comment, text=said, edited_at=begun.now)


def remove(stores: Stores, comment_id: int) -> None:
    """Delete a comment: its author may, and a maintainer.

    Raises:
        NotFound: if there is no such comment.
        Refused: if the caller is neither.
    """
    with _changing(stores, comment_id) as (begun, comment):
        caller = begun.caller.principal
        if not _is_mine(caller, comment) and not caller.may(Permission.GOVERN, comment.model):
            raise Refused(
                f"Comment {comment.id} is {comment.author}'s; only {comment.author} or a maintainer can delete it."
            )
        comments.remove(begun.session, comment.id)
        begun.record(
            EventType.COMMENT_DELETED,
            version=comment.version,
            before={"comment_id": comment.id, "comment": comment.text, "author": comment.author},
        )


def _is_mine(caller: Principal, comment: Comment) -> bool:
    return comment.author_id == caller.id and any(caller.token_allows(right, comment.model) for right in TAKES_PART)


def valid_text(text: str) -> str:
    """Return what a comment says, or refuse it.

    Raises:
        BadInput: with the limits.
    """
    if not text:
        raise BadInput(f"A comment says something, in 1 to {MAX_TEXT} characters.")
    return valid_comment(text, MAX_TEXT)


@contextmanager
def _changing(stores: Stores, comment_id: int) -> Iterator[tuple[Mutation, Comment]]:
    """Begin a mutation of the model that a comment is about."""
    workspace = stores.registry.workspace
    with reading(stores.registry.engine) as session:
        found = comments.find(session, workspace, comment_id)
    if found is None or not sees(current_caller(), found.model):
        raise _missing(comment_id)
    with stores.registry.mutation(found.model) as begun:
        comment = comments.find(begun.session, workspace, comment_id)
        if comment is None or begun.found is None or comment.model_id != begun.found.id:
            raise _missing(comment_id)
        yield begun, comment


def _missing(comment_id: int) -> NotFound:
    return NotFound(f"There is no comment {comment_id}. It may have been deleted, or its version.")
