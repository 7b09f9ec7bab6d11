"""What an access file wants, and what must change so that it is so. Nothing here reads or writes."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import RoleBinding


@dataclass(frozen=True)
class Account:
    """A principal as a file has it: what is said of it is all that is so of it."""

    name: str
    kind: Kind
    active: bool = True
    groups: frozenset[str] = frozenset()
    bindings: frozenset[RoleBinding] = frozenset()
    owner: str | None = None
    same_as: str | None = None
    #: Where the file says so.
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Wanted:
    """What a file wants: accounts, and the groups that it says the members of."""

    accounts: tuple[Account, ...]
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Change:
    """What becomes of one principal."""

    before: Account | None
    after: Account

    @property
    def name(self) -> str:
        """Whose change it is."""
        return self.after.name

    @property
    def sentences(self) -> list[str]:
        """What changes, a sentence each."""
        if self.before is None:
            kind = "service account" if self.after.kind is Kind.SERVICE else "person"
            return [f"is added as a {kind}", *_differences(Account(self.name, self.after.kind), self.after)]
        return list(_differences(self.before, self.after))


@dataclass(frozen=True)
class Plan:
    """What must change, by name; and who is active, not named, and left alone."""

    changes: tuple[Change, ...]
    left_alone: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What tells this plan from any other: who has seen one applies that one or none."""
        said = [[change.name, change.sentences] for change in self.changes]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def account_of(known: Principal) -> Account:
    """Return a principal as a file would have it."""
    return Account(
        known.name,
        known.kind,
        known.active,
        known.groups,
        frozenset(known.bindings),
        known.owner,
        known.same_as,
    )


def plan(present: Sequence[Principal], wanted: Wanted, prune: bool) -> Plan:
    """Return what must change so that a file holds.

    Who is named becomes what the file says of them. Who is not named is left alone, but leaves groups that the file
    says the members of, and is deactivated if `prune`.

    Args:
        present: Everybody there is.
        wanted: What the file says.
        prune: Whether those who are not named are deactivated.
    """
    known = {principal.name: account_of(principal) for principal in present}
    named = {account.name: _keeping_owner(account, known) for account in wanted.accounts}
    others = [account for name, account in known.items() if name not in named]
    after = [*named.values(), *(_unnamed(account, wanted, prune) for account in others)]
    changes = (Change(known.get(account.name), account) for account in after)
    return Plan(
        tuple(sorted((change for change in changes if change.before != change.after), key=lambda one: one.name)),
        () if prune else tuple(sorted(account.name for account in others if account.active)),
    )


def _keeping_owner(account: Account, known: Mapping[str, Account]) -> Account:
    before = known.get(account.name)
    return replace(account, owner=before.owner) if account.owner is None and before is not None else account


def _unnamed(account: Account, wanted: Wanted, prune: bool) -> Account:
    return replace(account, groups=account.groups - wanted.groups, active=account.active and not prune)


def _differences(before: Account, after: Account) -> Iterator[str]:
    if before.active != after.active:
        yield "is let in again" if after.active else "is deactivated"
    yield from _gained_and_lost("the role", map(str, before.bindings), map(str, after.bindings))
    yield from _gained_and_lost("the group", before.groups, after.groups)
    if before.owner != after.owner:
        yield f"is answered for by {after.owner}" + (f" (was {before.owner})" if before.owner else "")
    if before.same_as != after.same_as:
        yield f"is the same person as {after.same_as}" if after.same_as else f"is no longer {before.same_as}'s account"


def _gained_and_lost(what: str, before: Iterable[str], after: Iterable[str]) -> Iterator[str]:
    had, has = set(before), set(after)
    yield from (f"gets {what} {name}" for name in sorted(has - had))
    yield from (f"loses {what} {name}" for name in sorted(had - has))
