"""People and rights as a file, and why somebody may or may not: on the real server, on both databases."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import BACKENDS
from tests.house import CAST, ONE_APPROVAL, House

FILE = """\
version: 1
people:
  - {name: admin, roles: [admin]}
  - {name: ada, roles: ["contributor:payments-*"]}
  - {name: nia, roles: [viewer]}
  - {name: nia-admin, roles: [admin], same_person_as: nia}
service_accounts:
  - {name: bot, owner: ada, roles: [releaser]}
groups:
  senior: {members: [nia], roles: [reviewer]}
"""


@pytest.fixture(scope="module", params=BACKENDS)
def opened(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house of our own: who there is, is everybody's."""
    made = House(tmp_path_factory.mktemp("access"), new_database(request.param)).open()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def house(opened: House, tmp_path: Path) -> House:
    """The house, with the cast as it is."""
    start = {
        "version": 1,
        "people": [{"name": "admin", "roles": ["admin"]}, *said(None)],
        "service_accounts": [{**account, "owner": "admin"} for account in said("service")],
        "groups": {"senior": {"members": ["sue", "sam"]}},
    }
    opened.call("admin", "PUT", "/access", {"source": yaml.safe_dump(start), "prune": True})
    opened.apply_policy(ONE_APPROVAL)
    return opened


def said(kind: str | None) -> list[dict[str, Any]]:
    return [{"name": name, "roles": cast["roles"]} for name, cast in CAST.items() if cast.get("kind") == kind]


def put(house: House, source: str, by: str = "admin", status: int | None = None, **more: Any) -> Any:
    return house.call(by, "PUT", "/access", {"source": source, **more}, status)


def standing(house: House) -> dict[str, dict[str, Any]]:
    return {known["name"]: known for known in house.call("vic", "GET", "/principals")["principals"]}


def changed_since(house: House, number: int) -> list[str]:
    entries = house.call("admin", "GET", "/audit?max_results=100")["entries"]
    return sorted(
        entry["after"]["name"] for entry in entries if entry["id"] > number and entry["action"] == "principal.changed"
    )


def newest_entry(house: House) -> int:
    return int(house.call("admin", "GET", "/audit?max_results=1")["entries"][0]["id"])


def test_a_file_is_applied_once_and_then_changes_nothing(house: House) -> None:
    number, before = newest_entry(house), standing(house)
    tried = put(house, FILE, dry_run=True)
    assert (tried["applied"], standing(house), newest_entry(house)) == (False, before, number)
    done = put(house, FILE, expect=tried["digest"])
    assert {change["principal"] for change in done["changes"]} == {"ada", "bot", "nia", "nia-admin", "sam", "sue"}
    assert changed_since(house, number) == ["ada", "bot", "nia", "nia-admin", "sam", "sue"]
    after = standing(house)
    assert after["ada"]["roles"] == ["contributor:payments-*"]
    assert (after["bot"]["owner"], after["bot"]["roles"]) == ("ada", ["releaser"])
    assert (after["nia"]["roles"], after["nia"]["groups"]) == (["reviewer", "viewer"], ["senior"])
    assert after["nia-admin"]["same_person_as"] == "nia"
    assert (after["sue"]["groups"], after["sue"]["active"]) == ([], True)  # left alone, but for the group
    assert after["vic"] == before["vic"]
    again = put(house, FILE)
    assert again["changes"] == []
    assert {"vic", "oz"} <= set(again["left_alone"])
    assert len(changed_since(house, number)) == 6


def test_pruning_deactivates_and_never_the_last_admin_nor_oneself(house: House) -> None:
    put(house, FILE)
    without_admin = FILE.replace("  - {name: admin, roles: [admin]}\n", "")
    assert "keep you (admin) out" in put(house, without_admin, prune=True, status=400)["message"]
    demoted = FILE.replace("{name: admin, roles: [admin]}", "{name: admin, roles: [viewer]}")
    nobody = demoted.replace("roles: [admin], same", "roles: [viewer], same")
    assert "Nobody would be left" in put(house, nobody, prune=True, status=409)["message"]
    assert standing(house)["vic"]["active"]
    put(house, FILE, prune=True)
    assert house.http("vic").get("/api/lockgate/v1/requests").status_code == 401
    assert house.http("ada").get("/api/lockgate/v1/requests").status_code == 200
    assert not any(known["active"] for known in house.call("admin", "GET", "/principals")["principals"] if known["name"] in ("vic", "oz", "relay"))  # fmt: skip


def test_all_of_it_or_nothing(house: House) -> None:
    before = standing(house)
    wrong = FILE + "  other: {members: [admin]}\n"
    for source, problem in (
        (wrong.replace("owner: ada", "owner: ci"), "line 8: The owner of bot must be a person"),
        (wrong.replace("owner: ada", "owner: nobody"), "line 8: The owner of bot must be a person"),
        (wrong.replace("same_person_as: nia", "same_person_as: bot"), "line 6: bot is a service account"),
        (wrong.replace("name: bot, owner: ada", "name: newbot"), "line 8: A person answers for a service account"),
        (wrong.replace("name: nia,", "name: Ada,").replace("nia]", "Ada]"), "line 5: There is ada already"),
        (wrong.replace("name: nia,", "name: bot2,").replace("name: bot,", "name: vic,"), "nia is neither among"),
        (wrong.replace("name: bot,", "name: vic,"), "line 8: vic is a user account and stays one"),
        (wrong.replace("viewer", "king"), "line 5: people.2.roles.0: There is no role 'king'"),
    ):
        for dry_run in (True, False):
            message = put(house, source, status=400, dry_run=dry_run)["message"]
            assert problem in message
    assert standing(house) == before
    put(house, wrong)


def test_a_plan_that_was_seen_is_applied_or_none(house: House) -> None:
    seen = put(house, FILE, dry_run=True)["digest"]
    house.call("admin", "PATCH", "/principals/ada", {"roles": ["viewer"]})
    assert "lockgate access diff" in put(house, FILE, expect=seen, status=409)["message"]
    put(house, FILE, expect=put(house, FILE, dry_run=True)["digest"])


def test_who_may_apply_what(house: House) -> None:
    plain = "version: 1\npeople:\n  - {name: vic, roles: [reviewer]}\n"
    put(house, plain, by="ada", status=403)
    put(house, plain, by="max")
    for source in (
        plain.replace("reviewer", "admin"),
        "version: 1\npeople:\n  - {name: admin, roles: [viewer]}\n",
        plain.replace("roles: [reviewer]", "roles: [reviewer], same_person_as: ada"),
    ):
        put(house, source, by="max", status=403)
    assert standing(house)["vic"]["roles"] == ["reviewer"]


def test_two_accounts_change_places(house: House) -> None:
    put(house, FILE)
    swapped = FILE.replace(", same_person_as: nia", "").replace(
        "roles: [viewer]}", "roles: [viewer], same_person_as: nia-admin}"
    )
    put(house, swapped)
    assert put(house, swapped)["changes"] == []
    assert standing(house)["nia"]["same_person_as"] == "nia-admin"
    chain = FILE.replace("{name: ada,", "{name: ada, same_person_as: nia-admin,")
    assert "line 4: " in put(house, chain, status=400)["message"]


def test_the_command_line_exports_shows_asks_and_applies(house: House, tmp_path: Path) -> None:
    file = tmp_path / "access.yaml"
    file.write_text(house.cli("vic", "access", "export").stdout)
    assert "Nothing changes." in house.cli("admin", "access", "diff", str(file), "--prune").stdout
    file.write_text(FILE)
    before = standing(house)
    shown = house.cli("admin", "access", "diff", str(file))
    assert "loses the role contributor" in shown.stdout
    assert house.cli("admin", "access", "apply", str(file), "--dry-run").stdout == shown.stdout
    refused = house.cli("admin", "access", "apply", str(file), input="n\n")
    assert (refused.returncode, "Apply this?" in refused.stderr) == (1, True)
    assert standing(house) == before
    assert house.cli("admin", "access", "apply", str(file), input="y\n").stdout.endswith("Applied.\n")
    assert standing(house)["bot"]["owner"] == "ada"
    assert house.cli("admin", "access", "apply", str(file), "--yes").stdout.startswith("Nothing changes.")
    assert '"changes": []' in house.cli("admin", "access", "apply", str(file), "--yes", "--json").stdout
    file.write_text(FILE.replace("viewer", "king"))
    wrong = house.cli("admin", "access", "apply", str(file), "--yes")
    assert (wrong.returncode, "line 5" in wrong.stderr) == (1, True)


def explained(house: House, *arguments: str, by: str = "admin") -> tuple[bool, str]:
    told = house.cli(by, "access", "explain", *arguments)
    assert told.returncode == 0, told.stderr
    return told.stdout.startswith("Yes"), told.stdout


def test_why_somebody_may_or_may_not(house: House) -> None:
    house.apply_policy(ONE_APPROVAL + "    promote: {by: [service:bot]}\n    rollback: {by: [user:oz]}\n")
    model = house.new_model()
    for arguments, yes, reason in (
        (("ada", "promote", model, "stage:Production"), False, "needs the role releaser or admin"),
        (("bot", "promote", model, "stage:Production"), True, "The role releaser lets bot"),
        (("ci", "promote", model, "stage:Production"), False, "Rule 'production' lets only service:bot"),
        (("ci", "promote", model, "stage:Staging"), True, "The role releaser lets ci"),
        (("ada", "write", model), True, "The role contributor lets ada"),
        (("ada", "write", model, "stage:Production"), False, "moves only by an approved promotion request"),
        (("rex", "review", model, "stage:Production"), True, "counts only approvals of group:senior, not rex's"),
        (("bot", "approve", model), False, "service account"),
        (("oz", "rollback", model, "stage:Production"), True, "oz is one of them"),
        (("oz", "break-glass", model, "stage:Production"), True, "The role operator"),
        (("max", "govern"), True, "on all models"),
        (("vic", "read"), True, "The role viewer"),
    ):
        answer, told = explained(house, *arguments)
        assert (answer, reason in told) == (yes, True), told
    number = str(house.ask(model, "1", "stage:Production", by="sue")["id"])
    answer, told = explained(house, "sue", "review", "--request", number, by="vic")
    assert (answer, "sue asked for this promotion, and nobody approves their own work" in told) == (False, True)
    assert explained(house, "sam", "review", "--request", number)[0]
    house.call("admin", "PATCH", "/principals/sam", {"active": False})
    assert not explained(house, "sam", "review", "--request", number)[0]
    for arguments in (("nobody", "read"), ("ada", "fly"), ("ada", "promote", "--request", "999999")):
        assert house.cli("vic", "access", "explain", *arguments).returncode == 1


def test_narrowed_tokens_are_explained_to_those_who_may_know(house: House) -> None:
    house.call("sue", "POST", "/tokens", {"principal": "sue", "only": ["read"]})
    assert "is for only read: with it no" in explained(house, "sue", "review")[1]
    assert "is for only read: with it no" in explained(house, "sue", "review", by="sue")[1]
    assert "Token" not in explained(house, "sue", "review", by="vic")[1]
    found = house.call("vic", "GET", "/access/explain?principal=sue&action=review")
    assert (found["allowed"], found["action"], found["reasons"][0]["speaks_for"]) == (True, "approve and reject", True)


@pytest.mark.parametrize("group", ["access", "users", "tokens"])
def test_these_commands_import_no_mlflow(group: str) -> None:
    code = (
        f"import sys; from lockgate.cli.main import main; main(['{group}', '--help'], standalone_mode=False); "
        "sys.exit(any(name.split('.')[0] in ('mlflow', 'sqlalchemy', 'fastapi') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "Usage:" in done.stdout) == (0, True), done.stderr
