"""Calls that are too large in one way or another: a clear refusal, nothing changed, and nobody else waits."""

import json
import os
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.house import House, form_of
from tests.integration.test_bad_input import clear

MB = 1024 * 1024
MLFLOW = "/api/2.0/mlflow"
JSON = {"content-type": "application/json"}


def refused(answer: httpx.Response, *statuses: int, says: str = "") -> None:
    assert answer.status_code in statuses, answer.text
    clear(answer)
    assert says in answer.json()["message"]


def in_pieces(content: bytes) -> Iterator[bytes]:
    """Sent so, a body doesn't say beforehand how large it is."""
    for start in range(0, len(content), MB // 4):
        yield content[start : start + MB // 4]


def padded(body: dict[str, Any], size: int) -> bytes:
    content = json.dumps(body).encode()
    return content + b" " * (size - len(content))


# Bodies


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_mlflows_api_is_bounded(house: House, chunked: bool) -> None:
    for size, too_large in ((10 * MB, False), (10 * MB + 1, True), (40 * MB, True)):
        name = f"large-{secrets.token_hex(4)}"
        content = padded({"name": name}, size)
        answer = house.http("ada").post(
            f"{MLFLOW}/registered-models/create", content=in_pieces(content) if chunked else content, headers=JSON
        )
        if too_large:
            refused(answer, 413, says="10 MB")
        elif chunked:
            # MLflow's own bridge takes a body of unknown length for none.
            refused(answer, 400, says="Missing value")
        else:
            assert answer.status_code == 200, answer.text
        there = house.http("vic").get(f"{MLFLOW}/registered-models/get", params={"name": name})
        assert there.status_code == (404 if too_large or chunked else 200)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ours_is_bounded(house: House, chunked: bool) -> None:
    for size, too_large in ((MB, False), (MB + 1, True)):
        model = house.new_model()
        content = padded({"model": model, "version": "1", "target": "alias:champion"}, size)
        answer = house.http("ada").post(
            "/api/lockgate/v1/requests", content=in_pieces(content) if chunked else content, headers=JSON
        )
        if too_large:
            refused(answer, 413, says="1 MB")
        else:
            assert answer.status_code == 201, answer.text
        assert len(house.call("vic", "GET", f"/requests?model={model}")["requests"]) == (0 if too_large else 1)


@pytest.mark.parametrize("how", [f"Content-Length: {5 * MB}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("call", "status"),
    [
        (f"POST {MLFLOW}/runs/create", 401),
        ("POST /lockgate/sign-out", 401),
        ("POST /health", 401),
        ("POST /static-files/x", 401),
        ("POST /lockgate/static/lockgate.css", 401),
        ("PUT /lockgate/sign-in", 401),
        ("PUT /static-files/../api/2.0/mlflow-artifacts/artifacts/x", 401),
        ("GET /health", 413),
        ("HEAD /healthz", 413),
        ("GET /version", 413),
        ("GET /static-files/x", 413),
        ("GET /lockgate/sign-in", 413),
        ("POST /lockgate/sign-in", 413),
    ],
)
def test_a_stranger_sends_no_body_but_a_small_form(house: House, call: str, status: int, how: str) -> None:
    """The stranger is refused before what it sends is read."""
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as stranger:
        stranger.sendall(f"{call} HTTP/1.1\r\nHost: localhost\r\n{how}\r\n\r\n".encode())
        if "chunked" in how:
            # Just more than may come, and not the end of it.
            size = 65 * 1024 if call == "POST /lockgate/sign-in" else 1
            stranger.sendall(f"{size:x}\r\n".encode() + b"x" * size + b"\r\n")
        assert stranger.recv(1000).startswith(f"HTTP/1.1 {status}".encode())


def test_the_form_to_sign_in_is_bounded(house: House) -> None:
    with httpx.Client(base_url=house.uri, headers={"sec-fetch-site": "same-origin"}) as browser:
        filled = {**form_of(browser.get("/lockgate/sign-in")), "token": house.tokens["vic"]}
        refused(browser.post("/lockgate/sign-in", data={**filled, "more": "x" * 64 * 1024}), 413, says="64 KB")
        assert browser.post("/lockgate/sign-in", data={**filled, "more": "x" * 60_000}).status_code == 303
        token = form_of(browser.get("/lockgate/requests"))
        refused(browser.post("/lockgate/sign-out", data={**token, "more": "x" * 64 * 1024}), 413, says="64 KB")
        assert browser.post("/lockgate/sign-out", data=token).status_code == 303


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999999999", "1, 2"])
def test_a_length_that_is_none(house: House, length: str) -> None:
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as caller:
        caller.sendall(
            f"POST {MLFLOW}/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
            f"Authorization: Bearer {house.tokens['ada']}\r\n\r\n".encode()
        )
        assert caller.recv(1000).startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_an_upload_may_be_larger_than_a_call(house: House) -> None:
    content = os.urandom(12 * MB)
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/large.bin"
    assert house.http("ada").put(path, content=in_pieces(content)).status_code == 200
    assert house.http("vic").get(path).content == content


# Nesting


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"name":' * 50_000, b'{"name":' * 50_000 + b"1" + b"}" * 50_000])
@pytest.mark.parametrize(
    "path",
    [
        f"{MLFLOW}/registered-models/create",
        f"{MLFLOW}/runs/log-batch",
        f"{MLFLOW}/transition-requests/create",
        "/ajax-api/2.0/mlflow/model-versions/transition-stage",
        "/api/3.0/mlflow/traces",
        "/api/lockgate/v1/requests",
        "/graphql",
    ],
)
def test_nesting(house: House, path: str, deep: bytes) -> None:
    refused(house.http("ada").post(path, content=deep, headers=JSON), 400)


# Filters


def search(house: House, what: str, filter_string: str) -> httpx.Response:
    caller = house.http("vic")
    if what in ("registered-models", "model-versions"):
        return caller.get(f"{MLFLOW}/{what}/search", params={"filter": filter_string})
    return caller.post(
        f"{MLFLOW}/{what}/search", json={"experiment_ids": ["0"], "filter": filter_string, "max_results": 10}
    )


SEARCHES = ["registered-models", "model-versions", "runs", "experiments", "logged-models"]


@pytest.mark.parametrize("what", SEARCHES)
def test_a_filter_is_bounded(house: House, what: str) -> None:
    clause = "tags.a = 'x and (y'"
    assert search(house, what, " AND ".join([clause] * 50)).status_code == 200
    refused(search(house, what, " AND ".join([clause] * 51)), 400, says="51 clauses")
    refused(search(house, what, f"tags.a = '{'x' * 16_000}'"), 400, says="characters")
    refused(search(house, what, "(" * 500 + clause + ")" * 500), 400, says="nested")
    for strange in ("," * 15_000, "'" * 9_999, "a." * 7_900, "\n" * 15_000 + "'"):
        answer = search(house, what, strange)
        assert answer.status_code < 500, answer.text


def test_a_filter_is_bounded_whatever_route_it_comes_by(house: House) -> None:
    def found_by(clauses: int) -> str:
        filter_string = " AND ".join(["tags.a = 'x'"] * clauses)
        query = f'{{mlflowSearchModelVersions(input: {{filter: "{filter_string}"}}) {{modelVersions {{name}}}}}}'
        answer = house.http("vic").post("/graphql", json={"query": query})
        assert answer.status_code < 500, answer.text
        return answer.text

    assert '"modelVersions":[]' in found_by(50)
    assert "51 clauses" in found_by(51)


@pytest.mark.parametrize("who", ["vic", "near-limits"])
@pytest.mark.parametrize("kind", ["metrics", "params", "tags"])
def test_what_a_search_is_ordered_by_is_bounded(house: House, kind: str, who: str) -> None:
    """Each is one join more, beside those of the filter."""
    if who not in house.tokens:
        house.call("admin", "POST", "/principals", {"name": who, "roles": ["viewer:Default"]})
        house.tokens[who] = house.call("admin", "POST", "/tokens", {"principal": who})["token"]
    caller, value = house.http(who), "0.5" if kind == "metrics" else "'x'"

    def ordered(number: int, clauses: int) -> httpx.Response:
        order = [f"{kind}.a{n} DESC" for n in range(number)]
        filter_string = " AND ".join(f"{kind}.b{n} != {value}" for n in range(clauses))
        asked = {"experiment_ids": ["0"], "filter": filter_string, "order_by": order}
        return caller.post(f"{MLFLOW}/runs/search", json=asked)

    for number, clauses in ((20, 30), (0, 50)):
        answer = ordered(number, clauses)
        assert answer.status_code == 200, answer.text
    refused(ordered(20, 31), 400, says="51 clauses")
    refused(ordered(21, 0), 400, says="ordered by 21 things")
    refused(ordered(70, 0), 400, says="ordered by 70 things")


def test_every_search_bounds_what_it_is_ordered_by(house: House) -> None:
    order = ["name"] * 21
    for what in ("registered-models", "model-versions"):
        answer = house.http("vic").get(f"{MLFLOW}/{what}/search", params={"order_by": order})
        refused(answer, 400, says="ordered by 21 things")
    for path, body in (
        ("2.0/mlflow/runs/search", {"experiment_ids": ["0"], "order_by": order}),
        ("2.0/mlflow/experiments/search", {"max_results": 5, "order_by": order}),
        ("2.0/mlflow/logged-models/search", {"experiment_ids": ["0"], "order_by": [{"field_name": "metrics.a"}] * 21}),
        ("3.0/mlflow/datasets/search", {"experiment_ids": ["0"], "order_by": order}),
        (
            "3.0/mlflow/traces/search",
            {
                "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}],
                "order_by": order,
            },
        ),
    ):
        refused(house.http("vic").post(f"/api/{path}", json=body), 400, says="ordered by 21 things")


def test_traces_are_counted_within_the_bounds_of_searches(house: House) -> None:
    def counted(clauses: int) -> httpx.Response:
        asked = {
            "experiment_ids": ["0"], "view_type": "TRACES", "metric_name": "trace_count",
            "aggregations": [{"aggregation_type": "COUNT"}], "filters": ["trace.tag.a = 'b'"] * clauses,
        }  # fmt: skip
        return house.http("vic").post("/api/3.0/mlflow/traces/metrics", json=asked)

    assert counted(50).status_code == 200, counted(50).text
    refused(counted(51), 400, says="51 clauses")
    correlated = {"experiment_ids": ["0"], "filter_string1": "tag.a = 'b'", "filter_string2": "tag.a = 'c'"}
    path = "/api/3.0/mlflow/traces/calculate-filter-correlation"
    assert house.http("vic").post(path, json=correlated).status_code == 200
    correlated["base_filter"] = " AND ".join(["tag.a = 'b'"] * 49)
    refused(house.http("vic").post(path, json=correlated), 400, says="51 clauses")


@pytest.mark.parametrize("size", [50_001, 2**31, 2**63, 2**70, 10**100])
def test_pages_are_bounded(house: House, size: int) -> None:
    for path in (f"{MLFLOW}/runs/search", f"{MLFLOW}/experiments/search"):
        refused(house.http("vic").post(path, json={"experiment_ids": ["0"], "max_results": size}), 400)
        assert house.http("vic").post(path, json={"experiment_ids": ["0"], "max_results": 50}).status_code == 200
    for path in (f"{MLFLOW}/registered-models/search", "/api/lockgate/v1/requests", "/api/lockgate/v1/audit"):
        refused(house.http("vic").get(path, params={"max_results": size}), 400)
        assert house.http("vic").get(path, params={"max_results": 50}).status_code == 200


@pytest.mark.parametrize(
    "token", ["x", "1", "-1", "12:", "MTI", "LTE6YQ==", "eDph", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk6YQ==", "\u0661"]
)
def test_a_page_token_of_a_datasets_records_that_is_none(house: House, token: str) -> None:
    client = house.http("ada")
    made = client.post("/api/3.0/mlflow/datasets/create", json={"name": secrets.token_hex(4), "experiment_ids": ["0"]})
    records = f"/api/3.0/mlflow/datasets/{made.json()['dataset']['dataset_id']}/records"
    rows = [{"inputs": {"question": number}} for number in range(3)]
    assert client.post(records, json={"records": json.dumps(rows)}).status_code == 200
    first = client.get(records, params={"max_results": 2}).json()
    second = client.get(records, params={"max_results": 2, "page_token": first["next_page_token"]})
    assert len(json.loads(second.json()["records"])) == 1
    refused(client.get(records, params={"page_token": token}), 400, says="Start again without one")


@pytest.mark.parametrize("path", ["x" * 256, "\u00fc" * 128, "/".join(["x" * 200] * 6)])
def test_a_path_that_no_storage_takes(house: House, path: str) -> None:
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
    folder = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts"
    client = house.http("ada")
    for kind in ("application/octet-stream", "text/plain"):
        header = {"content-type": kind}
        assert client.put(f"{folder}/{'x' * 255}", content=b"1", headers=header).status_code == 200
        refused(client.put(f"{folder}/{path}", content=b"1", headers=header), 400, says="bytes at most")
    for read in (f"{folder}/{path}", f"/get-artifact?run_uuid={run}&path={path}"):
        refused(client.get(read), 400, says="bytes at most")
    refused(client.get(f"{MLFLOW}/artifacts/list", params={"run_id": run, "path": path}), 400, says="bytes at most")


def test_what_is_logged_at_once_is_bounded_as_in_mlflow(house: House) -> None:
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id

    def log(**logged: list[dict[str, Any]]) -> httpx.Response:
        return house.http("ada").post(f"{MLFLOW}/runs/log-batch", json={"run_id": run, **logged})

    tags = [{"key": f"t{number}", "value": "x"} for number in range(101)]
    metrics = [{"key": "m", "value": 1.0, "timestamp": 1, "step": number} for number in range(1001)]
    for too_much in ({"tags": tags}, {"params": tags}, {"metrics": metrics}):
        refused(log(**too_much), 400)
    with house.acting_as("vic") as client:
        data = client.get_run(run).data
        assert "t0" not in {**data.tags, **data.params}
        assert data.metrics == {}
    assert log(tags=tags[:40], params=tags[40:80], metrics=metrics[:900]).status_code == 200


# What stands before a body


@pytest.mark.parametrize("size", [70_000, 700_000, 7_000_000])
def test_headers_are_bounded(house: House, size: int) -> None:
    with httpx.Client(base_url=house.uri) as caller:
        refused(caller.get("/healthz", headers={"x-large": "x" * size}), 400, says="64 KB")
        refused(caller.get("/healthz", headers={f"x-{n}": "x" * 1000 for n in range(size // 1000)}), 400, says="64 KB")
        refused(caller.get("/healthz", headers={"cookie": "x" * size}), 400, says="64 KB")
        assert caller.get("/healthz", headers={"x-large": "x" * 60_000}).status_code == 200


def test_headers_that_never_end(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=20) as caller:
        caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Endless: ")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            caller.sendall(b"x" * 64 * MB)


def test_many_calls_on_one_connection_are_not_counted_together(house: House) -> None:
    with httpx.Client(base_url=house.uri, limits=httpx.Limits(max_connections=1)) as caller:
        for _ in range(20):
            assert caller.get("/healthz", headers={"x-large": "x" * 20_000}).status_code == 200


# Others don't wait


def test_slow_calls_hold_nobody_up(house: House) -> None:
    """More callers than the server has threads begin to send, and never end."""
    token = house.tokens["ada"]
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
    calls = (
        f"POST {MLFLOW}/runs/create",
        "POST /api/lockgate/v1/requests",
        f"PUT /api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/slow.bin",
    )
    with ExitStack() as stack:
        for call in calls * 25:
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", house.server.port), timeout=20))
            slow.sendall(
                f"{call} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{".encode()
            )
        with ThreadPoolExecutor(4) as others:
            answers = others.map(lambda _: house.http("vic").get("/api/lockgate/v1/requests", timeout=30), range(8))
            assert [answer.status_code for answer in answers] == [200] * 8
        name = house.new_model()
        assert house.ask(name, "1", "alias:champion")["state"] == "open"
