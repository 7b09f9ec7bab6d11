"""What a witness can do."""

from typing import Protocol


class Unreachable(Exception):
    """A witness can't be reached or written now; says why, without secrets."""


class Witness(Protocol):
    """A place that keeps checkpoints."""

    @property
    def name(self) -> str:
        """How to call it in a sentence: without passwords."""

    def recent(self) -> list[str] | None:
        """Return what it was given last, a line each, oldest first: as much as costs little to read.

        Returns:
            The lines; none if it has nothing. None if it only takes.

        Raises:
            Unreachable: if it can't be read now.
        """

    def keep(self, line: str, at: str, number: int) -> None:
        """Keep a checkpoint.

        Args:
            line: The signed checkpoint, without a line's end.
            at: When it was signed, as a name may hold it, sortable.
            number: The number of the entry that it is of.

        Raises:
            Unreachable: if it can't be kept now.
        """
