"""What the documentation promises is there, and what is there is documented."""

import re
from pathlib import Path

import pytest

from lockgate.access.roles import SHORT_NAMES, Permission
from lockgate.cli.main import main
from lockgate.cli.serve import server
from lockgate.events.event import EventType
from lockgate.gates.document import read_policy
from lockgate.gates.expression import VARIABLES
from lockgate.gates.policy import Gate, Rule
from lockgate.identity_file import PARTS as IDENTITY_PARTS
from lockgate.server import databricks, registry_webhooks
from lockgate.server.api import api
from lockgate.server.main import untested

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
POLICY = (ROOT / "docs/policy.md").read_text()
ACCESS = (ROOT / "docs/howto/access-as-code.md").read_text()
PROMOTE_FROM_CI = (ROOT / "docs/howto/promote-from-ci.md").read_text()
REFERENCE = (ROOT / "docs/reference.md").read_text()


@pytest.mark.parametrize("command", main.list_commands(None))
def test_every_command(command: str) -> None:
    assert f"`lockgate {command}" in REFERENCE


@pytest.mark.parametrize("option", server.params, ids=lambda option: option.name)
def test_every_option_of_the_server_and_its_variable(option) -> None:
    assert f"--{option.name.replace('_', '-')}" in README
    assert f"`{option.envvar}`" in README


@pytest.mark.parametrize("setting", [name for part in IDENTITY_PARTS for name in part.model_fields])
def test_every_setting_of_the_identity_file(setting: str) -> None:
    assert f"`{setting}" in REFERENCE


@pytest.mark.parametrize("action", SHORT_NAMES)
def test_every_action(action: str) -> None:
    assert f"`{action}`" in ACCESS


def test_every_permission_is_an_action_that_can_be_named() -> None:
    assert set(SHORT_NAMES.values()) == set(Permission)


@pytest.mark.parametrize("event", EventType)
def test_every_event(event: str) -> None:
    assert f"`{event}`" in REFERENCE


@pytest.mark.parametrize("path", api.openapi()["paths"])
def test_every_route(path: str) -> None:
    shown = re.sub(r"\{\w+_id\}", "{id}", path)
    head, _, action = shown.rpartition("/")
    assert f" {shown}`" in REFERENCE or f"`/{action}`" in REFERENCE, head


@pytest.mark.parametrize(
    "route", [*databricks.router.routes, *registry_webhooks.router.routes], ids=lambda route: route.path
)
def test_every_call_of_databricks(route) -> None:
    assert f"`{min(route.methods)} {route.path.removeprefix('/')}`" in REFERENCE


@pytest.mark.parametrize("setting", [f.alias or n for kind in (Rule, Gate) for n, f in kind.model_fields.items()])
def test_every_setting_of_a_policy(setting: str) -> None:
    assert f"`{setting}" in POLICY


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_of_expressions(variable: str) -> None:
    assert f"`{variable}`" in POLICY


def test_the_policies_that_are_shown_are_valid() -> None:
    shown = [text for page in (README, PROMOTE_FROM_CI) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    policies = [text for text in shown if "rules:" in text]
    assert len(policies) == 2
    for text in (*policies, (ROOT / "demo/policy.yaml").read_text()):
        assert read_policy(text).rules


def test_links_lead_somewhere() -> None:
    pages = [page for folder in ("docs", "deploy", "integrations") for page in ROOT.glob(f"{folder}/**/*.md")]
    for page in (*ROOT.glob("*.md"), *pages):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"


@pytest.mark.parametrize(
    ("installed", "tested"), [("3.17.2", True), ("3.17.9", True), ("3.18.0", False), ("2.22.0", False)]
)
def test_a_start_on_an_untested_mlflow_says_so(installed: str, tested: bool) -> None:
    warning = untested(installed)
    assert (warning is None) is tested
    assert tested or f"{installed} is installed" in str(warning)
