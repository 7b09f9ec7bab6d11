"""What a CI job's log is told while something takes long: on stderr, and each thing once."""

import click


def one_line(text: str) -> str:
    """Return what somebody wrote as one line that is text and nothing else.

    A job's log is read by machines too: GitHub carries out `##[command]` wherever it stands, and `::command::` at the
    start of a line.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.replace("##[", "## [")


class Progress:
    """Says what has changed since it was last said."""

    def __init__(self) -> None:
        self._said: tuple[str, ...] = ()

    def tell(self, first: str, *more: str) -> None:
        """Say something, and what belongs to it line by line below, if it is not what was said last."""
        said = (first, *more)
        if said == self._said:
            return
        self._said = said
        click.echo("\n".join([one_line(first), *(f"  - {one_line(line)}" for line in more)]), err=True)
