"""What the store asks of the gate. `workflow.gate` answers; the store knows only these questions."""

from collections.abc import Sequence
from typing import Protocol

from lockgate.promotions.target import Target
from lockgate.registry.mutation import Mutation
from lockgate.registry.pointers import Change


class Gate(Protocol):
    """Decides about pointers that are about to move."""

    def is_closed(self, name: str, target: Target) -> bool:
        """Say whether a target of a model may move only through the gate."""

    def ask(self, name: str, version: int, target: Target) -> None:
        """Move a closed target to a version if that has been approved, and the caller may; else refuse.

        Raises:
            Refused: with everything that is missing, and the number of the request that asks for it.
        """

    def observe(self, name: str, version: int, target: Target) -> None:
        """Put on record what rules in audit mode would refuse about a move of an open target."""

    def check_direct(self, mutation: Mutation, changes: Sequence[Change]) -> dict[Target, int]:
        """Refuse changes outside the gate that touch a closed target.

        Returns:
            Decisions that were recorded for closed targets that the caller may clear, by target.

        Raises:
            Refused: saying which target is closed and what to do instead.
        """

    def check_side_effects(self, mutation: Mutation, target: Target, changes: Sequence[Change]) -> None:
        """Refuse to carry out a decision about one target that would leave production empty."""

    def check_deletion(self, mutation: Mutation, what: str, changes: Sequence[Change]) -> None:
        """Refuse a deletion that would empty a closed target."""

    def check_rename(self, mutation: Mutation, new_name: str, is_prompt: bool) -> None:
        """Refuse to rename a model that holds a closed target, or to a name that is not allowed."""

    def check_name(self, mutation: Mutation, name: str, is_prompt: bool) -> None:
        """Refuse a name for a model that is not allowed (a prompt's may be), or could be taken for that of another."""

    def check_provenance(self, source: str, run_id: str | None, model_id: str | None) -> None:
        """Refuse a run or logged model, whose metrics a version would show, and files that the caller may not see."""

    def check_prompt_marker(self, mutation: Mutation, is_prompt: bool) -> None:
        """Refuse to turn a governed model into a prompt or back, or a prompt into a model whose name is not allowed."""

    def approved_holders(self, name: str) -> frozenset[int] | None:
        """Return the versions that protected targets serve; None if no rule is about the model."""

    def check_alias(self, mutation: Mutation, alias: str) -> None:
        """Refuse an alias that could be taken for a closed one."""

    def served_before(self, name: str, target: Target) -> int | None:
        """Return the version that served a closed target before the one that does now; None if it is open."""
