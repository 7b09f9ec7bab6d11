"""The access file as text: reading it, with errors that name the line, and writing what is so now."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lockgate.access.plan import Account, Wanted, account_of
from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import parse_binding
from lockgate.document import line_of, parse_yaml
from lockgate.errors import BadInput
from lockgate.workflow.people import check_groups, check_principal_name

MAX_LENGTH = 1_000_000

Name = Annotated[str, Field(min_length=1, max_length=100)]
Roles = tuple[str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Person(_Part):
    name: Name
    roles: Roles = ()
    active: bool = True
    same_person_as: Name | None = None


class _ServiceAccount(_Part):
    name: Name
    owner: Name | None = None
    roles: Roles = ()
    active: bool = True


class _Group(_Part):
    members: tuple[Name, ...]
    roles: Roles = ()


class _AccessFile(_Part):
    version: Literal[1]
    people: tuple[_Person, ...] = ()
    service_accounts: tuple[_ServiceAccount, ...] = ()
    groups: dict[str, _Group] = {}


class _Reader:
    """Gathers what is wrong, with the line where it stands."""

    def __init__(self, root: yaml.Node | None) -> None:
        self._root = root
        self.problems: list[str] = []

    def note(self, path: list[Any], said: str) -> None:
        where = ".".join(str(part) for part in path) or "the file"
        self.problems.append(f"line {line_of(self._root, path)}: {where}: {said}")

    def line(self, *path: Any) -> int:
        return line_of(self._root, list(path))

    def check(self, path: list[Any], function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except BadInput as error:
            self.note(path, error.message)
            return None

    def refuse_if_wrong(self) -> None:
        if self.problems:
            raise BadInput("The access file is not valid.\n" + "\n".join(self.problems), problems=self.problems)


def read_access(text: str) -> Wanted:
    """Read an access file.

    Raises:
        BadInput: naming each line that is wrong.
    """
    if len(text) > MAX_LENGTH:
        raise BadInput(f"An access file may have {MAX_LENGTH} characters; this one has {len(text)}.")
    root, data = parse_yaml(text)
    if not isinstance(data, dict):
        raise BadInput("An access file is a mapping that starts with `version: 1` and has `people`.")
    reader = _Reader(root)
    try:
        file = _AccessFile.model_validate(data)
    except ValidationError as error:
        for problem in error.errors():
            reader.note(list(problem["loc"]), _SENTENCES.get(problem["type"]) or problem["msg"])
        reader.refuse_if_wrong()
        raise
    _check_names(file, reader)
    wanted = Wanted(tuple(_accounts(file, reader)), frozenset(file.groups))
    reader.refuse_if_wrong()
    return wanted


_SENTENCES = {
    "extra_forbidden": "there is no such setting here; see docs/howto/access-as-code.md",
    "missing": "this is missing",
}


def _check_names(file: _AccessFile, reader: _Reader) -> None:
    names: set[str] = set()
    for part, all_named in (
        ("people", [person.name for person in file.people]),
        ("service_accounts", [account.name for account in file.service_accounts]),
    ):
        for at, name in enumerate(all_named):
            reader.check([part, at, "name"], check_principal_name, name)
            if name in names:
                reader.note([part, at, "name"], f"{name} stands here twice; keep one.")
            names.add(name)
    for group, said in file.groups.items():
        reader.check(["groups", group], check_groups, [group])
        for at, member in enumerate(said.members):
            if member not in names:
                reader.note(
                    ["groups", group, "members", at],
                    f"{member} is neither among `people` nor `service_accounts`; add them there.",
                )


def _accounts(file: _AccessFile, reader: _Reader) -> Iterator[Account]:
    for at, person in enumerate(file.people):
        bindings, groups = _standing(file, reader, ["people", at, "roles"], person.name, person.roles)
        yield Account(
            person.name,
            Kind.USER,
            person.active,
            groups,
            bindings,
            same_as=_other(person.same_person_as, person.name),
            line=reader.line("people", at),
        )
    for at, account in enumerate(file.service_accounts):
        bindings, groups = _standing(file, reader, ["service_accounts", at, "roles"], account.name, account.roles)
        yield Account(
            account.name,
            Kind.SERVICE,
            account.active,
            groups,
            bindings,
            account.owner,
            line=reader.line("service_accounts", at),
        )


def _other(first: str | None, name: str) -> str | None:
    return None if first == name else first


def _standing(file: _AccessFile, reader: _Reader, path: list[Any], name: str, roles: Roles) -> Any:
    """Return the bindings and groups of somebody: their own roles, and those of the groups that they are in."""
    mine = {group: said for group, said in file.groups.items() if name in said.members}
    bindings = [reader.check([*path, at], parse_binding, role) for at, role in enumerate(roles)]
    for group, said in mine.items():
        bindings += [
            reader.check(["groups", group, "roles", at], parse_binding, role) for at, role in enumerate(said.roles)
        ]
    return frozenset(binding for binding in bindings if binding is not None), frozenset(mine)


def write_access(present: Iterable[Principal]) -> str:
    """Return everybody there is as a file that changes nothing when it is applied."""
    accounts = [account_of(principal) for principal in present]
    file: dict[str, Any] = {"version": 1, "people": [], "service_accounts": [], "groups": {}}
    for account in accounts:
        part = "service_accounts" if account.kind is Kind.SERVICE else "people"
        file[part].append(_entry(account))
        for group in sorted(account.groups):
            file["groups"].setdefault(group, {"members": []})["members"].append(account.name)
    said = {name: part for name, part in file.items() if part}
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120)


def _entry(account: Account) -> dict[str, Any]:
    said = {
        "name": account.name,
        "owner": account.owner,
        "same_person_as": account.same_as,
        "roles": sorted(str(binding) for binding in account.bindings),
        "active": None if account.active else False,
    }
    return {name: value for name, value in said.items() if value not in (None, [])}
