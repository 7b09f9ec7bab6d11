"""What an access file changes, and what it says wrong."""

import pytest

from lockgate.access.plan import Wanted, plan
from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import Role, RoleBinding
from lockgate.errors import BadInput
from lockgate.workflow.access_file import read_access, write_access

PRESENT = [
    Principal(1, "admin", bindings=(RoleBinding(Role.ADMIN),)),
    Principal(2, "ada", groups=frozenset({"senior"}), bindings=(RoleBinding(Role.CONTRIBUTOR, "a-*"),)),
    Principal(3, "ada-admin", human="ada", bindings=(RoleBinding(Role.ADMIN),)),
    Principal(4, "bot", Kind.SERVICE, owner="ada", bindings=(RoleBinding(Role.RELEASER),)),
    Principal(5, "old", active=False),
    Principal(6, "on", bindings=(RoleBinding(Role.VIEWER),), groups=frozenset({"null", "senior"})),
    Principal(7, "stray", Kind.SERVICE),
]


def changes(text: str, prune: bool = False) -> dict[str, list[str]]:
    return {change.name: change.sentences for change in plan(PRESENT, read_access(text), prune).changes}


def test_what_is_exported_changes_nothing() -> None:
    text = write_access(PRESENT)
    for prune in (False, True):
        planned = plan(PRESENT, read_access(text), prune)
        assert (planned.changes, planned.left_alone) == ((), ())


def test_who_is_named_becomes_what_is_said_and_others_are_left_alone() -> None:
    text = """\
version: 1
people:
  - {name: ada, roles: [reviewer]}
  - {name: new, roles: [viewer]}
service_accounts:
  - {name: bot, owner: new, roles: [releaser]}
  - {name: ci, owner: ada}
"""
    assert changes(text) == {
        "ada": ["gets the role reviewer", "loses the role contributor:a-*", "loses the group senior"],
        "bot": ["is answered for by new (was ada)"],
        "ci": ["is added as a service account", "is answered for by ada"],
        "new": ["is added as a person", "gets the role viewer"],
    }
    assert plan(PRESENT, read_access(text), False).left_alone == ("ada-admin", "admin", "on", "stray")


def test_pruning_deactivates_who_is_active_and_not_named() -> None:
    text = "version: 1\npeople:\n  - {name: admin, roles: [admin]}\n  - {name: old, roles: [viewer]}\n"
    assert changes(text, prune=True) == {
        **{name: ["is deactivated"] for name in ("ada", "ada-admin", "bot", "on", "stray")},
        "old": ["is let in again", "gets the role viewer"],
    }


def test_a_group_has_the_members_and_gives_the_roles_that_it_says() -> None:
    text = """\
version: 1
people:
  - {name: ada, roles: ["contributor:a-*"]}
  - {name: ada-admin, roles: [admin]}
groups:
  senior: {members: [ada-admin], roles: [reviewer]}
"""
    assert changes(text) == {
        "ada": ["loses the group senior"],
        "ada-admin": ["gets the role reviewer", "gets the group senior", "is no longer ada's account"],
        "on": ["loses the group senior"],
    }


def test_an_owner_that_is_not_said_stays() -> None:
    assert changes("version: 1\nservice_accounts:\n  - {name: bot, roles: [releaser]}\n") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("people: []", "line 1: version: this is missing"),
        ("version: 2", "line 1: version: Input should be 1"),
        ("version: 1\npeople:\n  - {name: ada, role: [viewer]}", "line 3: people.0.role: there is no such setting"),
        ("version: 1\npeople:\n  - roles: [viewer]", "line 3: people.0.name: this is missing"),
        ("version: 1\npeople:\n  - name: ada\n    roles:\n    - viewer\n    - king", "line 6: people.0.roles.1: There is no role"),
        ("version: 1\npeople:\n  - name: a b", "line 3: people.0.name: 'a b' is no name"),
        ("version: 1\npeople:\n  - name: ada\n  - name: ada", "line 4: people.1.name: ada stands here twice"),
        ("version: 1\npeople:\n  - name: ada\nservice_accounts:\n  - name: ada", "line 5: service_accounts.0.name: ada"),
        ("version: 1\ngroups:\n  senior:\n    members:\n    - ada", "line 5: groups.senior.members.0: ada is neither"),
        ("version: 1\ngroups:\n  a b: {members: []}", "line 3: groups.a b: 'a b' is no name for a group"),
        ("version: 1\ngroups:\n  - senior", "line 2: groups: Input should be"),
        ("version: 1\npeople: [", "line 2: this is not YAML"),
        ("version: 1\nversion: 1", "line 2: `version` stands here twice"),
        ("- 1", "An access file is a mapping"),
        ("version: 1\npeople:\n- name: lockgate", "line 3: people.0.name: The name 'lockgate' is Lockgate's own"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_its_line(text: str, problem: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_access(text)
    assert problem in refused.value.message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        read_access("version: 1\npeople:\n  - {name: a b, roles: [king]}\n  - {name: a, roles: [queen]}\n")
    assert [problem.split(":")[0] for problem in refused.value.details["problems"]] == ["line 3", "line 3", "line 4"]


def test_a_plan_is_told_from_another_by_its_digest() -> None:
    one, other = (Wanted(read_access(f"version: 1\npeople:\n- name: {name}").accounts) for name in ("x", "y"))
    assert plan(PRESENT, one, False).digest == plan(PRESENT, one, False).digest
    assert plan(PRESENT, one, False).digest != plan(PRESENT, other, False).digest
    assert plan(PRESENT, one, False).digest != plan(PRESENT, one, True).digest
