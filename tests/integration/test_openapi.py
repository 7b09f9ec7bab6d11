"""Our API does what its OpenAPI document says, for whatever is sent: no 5xx, and answers of the documented shape."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lockgate.server.api import api
from tests.house import House
from tests.integration.test_bad_input import clear

DOCUMENT = api.openapi()
#: Revoking tokens comes last: those who call would lose theirs.
OPERATIONS = sorted(
    ((method.upper(), path) for path, operations in DOCUMENT["paths"].items() for method in operations),
    key=lambda operation: operation == ("DELETE", "/tokens/{token_id}"),
)
SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)))
#: The same calls at every run, and few enough for it to take seconds.
FEW = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module", params=["postgresql"])
def house(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house of this file's own, where an admin may do anything at random; on the stricter database."""
    own = House(tmp_path_factory.mktemp("house"), new_database(request.param)).open()
    try:
        name = own.new_model("model", versions=2)
        own.promote(name, "1", "alias:champion")
        own.ask(name, "2", "alias:champion")
        yield own
    finally:
        own.close()


TOKENS = st.one_of(
    st.text(max_size=40),
    st.integers(-(2**70), 2**70).map(str),
    st.one_of(st.integers(-(2**70), 2**70).map(str), st.text(max_size=20)).map(
        lambda text: base64.urlsafe_b64encode(f"before:{text}".encode(errors="replace")).decode()
    ),
)


@settings(FEW, max_examples=40)
@given(token=TOKENS, size=st.one_of(st.integers(-(2**70), 2**70).map(str), st.text(max_size=5)))
def test_any_page_is_answered(house: House, token: str, size: str) -> None:
    for path in ("/api/lockgate/v1/requests", "/api/lockgate/v1/audit", "/lockgate/requests"):
        caller = house.http("admin")
        for query in ({"page_token": token}, {"max_results": size}, {"page_token": token, "max_results": size}):
            answer = caller.get(path, params=query)
            if answer.status_code != 200 and path.startswith("/api"):
                clear(answer)
            assert answer.status_code < 500, answer.text


def test_a_page_leads_to_the_next(house: House) -> None:
    first = house.call("admin", "GET", "/audit?max_results=1")
    second = house.call("admin", "GET", f"/audit?max_results=1&page_token={first['next_page_token']}")
    assert second["entries"][0]["id"] < first["entries"][0]["id"]


def test_the_document_says_how_to_sign_in_and_how_errors_look(house: House) -> None:
    told = house.call("vic", "GET", "/openapi.json")
    assert set(told["components"]["securitySchemes"]) == {"token", "password", "session"}
    assert told["security"]
    for path, operations in told["paths"].items():
        for operation in operations.values():
            for status in ("401", "4XX"):
                shape = operation["responses"][status]["content"]["application/json"]["schema"]
                assert shape == {"$ref": "#/components/schemas/ErrorView"}, path
    assert httpx.get(f"{house.uri}/api/lockgate/v1/requests").json().keys() == {"error_code", "message", "details"}


@pytest.mark.parametrize("who", ["vic", "admin"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_answers_as_documented(house: House, who: str, method: str, path: str) -> None:
    assert house.http(who).get("/api/lockgate/v1/requests").status_code == 200
    operation = SCHEMA[path][method]
    headers = {"Authorization": f"Bearer {house.tokens[who]}"}

    @FEW
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        answer = case.call(base_url=f"{house.uri}/api/lockgate/v1", headers=headers)
        case.validate_response(answer, checks=list(CHECKS))

    call()
