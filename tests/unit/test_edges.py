"""Credentials, shapes on the wire, settings: what the outside hands in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.server import constants, handlers
from pydantic import TypeAdapter, ValidationError

from lockgate.access.credentials import TOKEN_PREFIX, new_token, password_hash, password_matches, token_digest
from lockgate.access.selectors import Selector
from lockgate.database.engine import real_uri
from lockgate.errors import BadInput
from lockgate.registry.authorship import artifact_folder
from lockgate.registry.facts import UNREADABLE, ModelFile, parse_model_file
from lockgate.settings import ServerSettings
from lockgate.wire.words import VersionNumber

_version: TypeAdapter[VersionNumber] = TypeAdapter(VersionNumber)


def test_tokens_are_random_recognisable_and_stored_as_digests() -> None:
    token = new_token()
    assert token.startswith(TOKEN_PREFIX)
    assert token != new_token()
    assert token not in token_digest(token)


def test_passwords_match_only_themselves_twice_over() -> None:
    stored = password_hash("correct horse")
    for _ in range(2):  # the second time from memory
        assert password_matches(stored, "correct horse")
        assert not password_matches(stored, "wrong horse")
    assert not password_matches("no hash", "correct horse")


@pytest.mark.parametrize(("given_", "number"), [("3", 3), (3, 3), ("003", 3)])
def test_versions(given_: object, number: int) -> None:
    assert _version.validate_python(given_) == number


@pytest.mark.parametrize("given_", ["", "0", "-1", "1.0", 1.5, True, None, "１", "1_0", " 1", "9" * 30, 2**31])
def test_what_is_no_version(given_: object) -> None:
    with pytest.raises(ValidationError):
        _version.validate_python(given_)


@pytest.mark.parametrize("text", ["senior", "group:", "team:x", "role:boss", ":x", ""])
def test_what_names_nobody(text: str) -> None:
    with pytest.raises(BadInput):
        Selector.parse(text)


@given(st.text())
def test_selectors_are_read_or_refused(text: str) -> None:
    try:
        assert str(Selector.parse(text)) == text
    except BadInput:
        pass


@pytest.mark.parametrize(
    ("uri", "real"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("postgresql://u:p%40ss@h:5432/db", "postgresql+psycopg://u:p%40ss@h:5432/db"),
        ("postgres://u@h/db", "postgresql+psycopg://u@h/db"),
        ("postgresql+psycopg2://u@h/db", "postgresql+psycopg://u@h/db"),
    ],
)
def test_plain_spellings_get_the_driver_that_we_ship(uri: str, real: str) -> None:
    assert real_uri(uri) == real


@pytest.mark.parametrize("uri", ["./mlruns", "mysql://u@h/db", "http://h", ""])
def test_other_stores_are_refused(uri: str) -> None:
    with pytest.raises(BadInput, match=r"SQLite|sqlite"):
        real_uri(uri)


def test_mlflows_private_variables_are_called_what_we_call_them() -> None:
    told = ServerSettings(static_prefix="/x").environment()
    for name in (
        constants.BACKEND_STORE_URI_ENV_VAR,
        constants.REGISTRY_STORE_URI_ENV_VAR,
        constants.ARTIFACT_ROOT_ENV_VAR,
        constants.ARTIFACTS_DESTINATION_ENV_VAR,
        constants.SERVE_ARTIFACTS_ENV_VAR,
        handlers.STATIC_PREFIX_ENV_VAR,
    ):
        assert name in told


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("1/abc/artifacts/model/MLmodel", "1/abc/artifacts"),
        ("/1/abc/artifacts", "1/abc/artifacts"),
        ("1/models/m-1/artifacts/MLmodel", "1/models/m-1/artifacts"),
        ("1//abc/./artifacts/x", "1/abc/artifacts"),
        ("some/where", "some/where"),
    ],
)
def test_files_belong_to_the_folder_of_their_run_or_model(path: str, folder: str) -> None:
    assert artifact_folder(path, "/srv/mlartifacts") == folder


@pytest.mark.parametrize(
    ("destination", "location"),
    [
        ("/srv/mlartifacts", "mlflow-artifacts:/loc/r/artifacts/model"),
        ("/srv/mlartifacts", "mlflow-artifacts:/%6Coc/r/artifacts/model"),
        ("/srv/mlartifacts", "mlflow-artifacts:/%256Coc/r/artifacts"),
        ("/srv/mlartifacts", "mlflow-artifacts:/a/../loc/r/artifacts"),
        ("/srv/mlartifacts", "/srv/mlartifacts/loc/r/artifacts"),
        ("/srv/mlartifacts", "file:///srv/mlartifacts/loc/r/artifacts"),
        ("/srv/mlartifacts", "/srv/x/../mlartifacts/loc/r/artifacts"),
        ("./mlartifacts", "mlartifacts/loc/r/artifacts"),
        ("s3://bucket/root", "s3://bucket/root/loc/r/artifacts"),
    ],
)
def test_every_spelling_of_a_place_is_the_same_folder(destination: str, location: str) -> None:
    assert artifact_folder(location, destination) == artifact_folder("loc/r/artifacts/model", destination)


@pytest.mark.parametrize(
    "text",
    [
        "signature: &a {x: *a}",
        "a: &a [x,x]\nb: &b [*a,*a]\nsignature: {inputs: *b}",
        "signature: {inputs: 2020-01-01}",
        "signature: {inputs: !!binary aGk=}",
        "signature: {inputs: .nan}",
        "signature: {inputs: 0x" + "f" * 6000 + "}",
        "signature: " + "[" * 3000,
        "- a list",
        "\0",
        "{",
    ],
)
def test_a_model_file_that_somebody_made_up_is_unreadable(text: str) -> None:
    assert parse_model_file(text) == UNREADABLE


def test_a_model_file_as_mlflow_writes_it_is_read() -> None:
    read = parse_model_file("signature: {inputs: '[]', outputs: null}\nsaved_input_example_info: {type: x}\n")
    assert read == ModelFile("read", {"inputs": "[]", "outputs": None}, True)
