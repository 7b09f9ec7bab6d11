"""MLflow's own UI, signed in, in a real browser: promoting in its dialogs meets the gate."""

import re
import secrets

from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE, SignedIn
from tests.house import House

expect.set_options(timeout=PATIENCE)


def add_alias(page: Page, name: str, alias: str) -> None:
    """Add an alias to version 1 on the page of its model, each step when the one before is done.

    On the page of the version itself MLflow's dialog sends an empty name where there are more models than a page of
    them: a list that the page asks for meanwhile takes the place of the model that it had.
    """
    page.get_by_role("row", name="Version 1").get_by_role("button", name="Add").last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").click()
    page.keyboard.type(alias)
    # What Enter takes is the option, which comes after what was typed.
    expect(page.get_by_role("option", name=alias)).to_be_attached()
    page.keyboard.press("Enter")
    expect(dialog.get_by_text(f"@ {alias}")).to_be_visible()
    with page.expect_response(re.compile("registered-models/alias")) as answer:
        dialog.get_by_role("button", name="Save aliases").click()
    assert answer.value.request.post_data_json == {"name": name, "alias": alias, "version": "1"}


def transition(page: Page, stage: str) -> None:
    page.get_by_role("switch", name="New model registry UI").click()
    page.get_by_role("button", name="Disable").click()
    page.get_by_text("None", exact=True).first.click()
    page.get_by_text(stage, exact=True).last.click()
    with page.expect_response(re.compile("model-versions/transition-stage")):
        page.get_by_role("dialog").get_by_role("button", name="OK").click()


def request_in(page: Page, house: House) -> dict[str, object]:
    """The promotion request whose number the page shows."""
    shown = page.get_by_text(re.compile(r"Promotion request \d+")).first
    expect(shown).to_be_visible()
    number = re.search(r"Promotion request (\d+)", shown.inner_text())
    assert number is not None
    found: dict[str, object] = house.call("vic", "GET", f"/requests/{number[1]}")
    return found


def test_an_alias_is_refused_in_its_dialog_and_set_when_approved(house: House, signed_in: SignedIn) -> None:
    name = house.new_model()
    page = signed_in("ada", f"/#/models/{name}")
    # Signing in leads back to the place in MLflow's UI, which stands behind the #.
    assert page.url == f"{house.uri}/#/models/{name}"
    add_alias(page, name, "champion")
    expect(page.get_by_role("dialog").get_by_text("1 more approval")).to_be_visible()
    asked = request_in(page, house)
    assert (asked["model"], asked["target"], asked["requester"]) == (name, "alias:champion", "ada")

    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
    page.reload()
    expect(page.get_by_text("@ champion").first).to_be_visible()


def test_an_alias_that_nothing_protects_is_set(house: House, signed_in: SignedIn) -> None:
    name = house.new_model()
    page = signed_in("ada", f"/#/models/{name}")
    add_alias(page, name, "shadow")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("@ shadow").first).to_be_visible()
    with house.acting_as("vic") as client:
        assert client.get_model_version_by_alias(name, "shadow").version == "1"


def test_a_stage_is_refused_where_the_ui_shows_errors(house: House, signed_in: SignedIn) -> None:
    name = house.new_model()
    page = signed_in("ada", f"/#/models/{name}/versions/1")
    transition(page, "Production")
    asked = request_in(page, house)
    assert (asked["model"], asked["target"], asked["requester"]) == (name, "stage:Production", "ada")
    with house.acting_as("vic") as client:
        assert client.get_model_version(name, "1").current_stage == "None"


def test_a_stage_that_nothing_protects_is_reached(house: House, signed_in: SignedIn) -> None:
    name = house.new_model()
    page = signed_in("ada", f"/#/models/{name}/versions/1")
    transition(page, "Staging")
    expect(page.get_by_text("Staging", exact=True).first).to_be_visible()
    with house.acting_as("vic") as client:
        assert client.get_model_version(name, "1").current_stage == "Staging"


def test_artifacts_are_shown_but_run_nothing_here(house: House, signed_in: SignedIn) -> None:
    marker = secrets.token_hex(8)
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
        client.log_text(run, marker, "note.txt")
        client.log_text(run, f"<p>{marker}</p><script>document.title = 'taken over'</script>", "page.html")
    page = signed_in("vic", f"/#/experiments/0/runs/{run}/artifacts/note.txt")
    expect(page.get_by_text(marker)).to_be_visible()

    page.goto(f"{house.uri}/lockgate/requests")
    with page.expect_download() as download:
        page.evaluate("url => { location = url }", f"{house.uri}/get-artifact?run_uuid={run}&path=page.html")
    assert marker in download.value.path().read_text()
    assert page.url == f"{house.uri}/lockgate/requests"
