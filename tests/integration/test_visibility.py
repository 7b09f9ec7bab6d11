"""Somebody whose roles are bound to a pattern reads as if the rest were not there; somebody else reads all of it."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.house import House

API = "/api/2.0/mlflow"
SEEN, HIDDEN = 5, 3


@dataclass(frozen=True)
class Scene:
    """Models and experiments, each with one thing of every kind; `near` sees the first of them, `sue` all."""

    house: House
    prefix: str
    names: tuple[str, ...]
    experiments: dict[str, str]
    runs: dict[str, str]
    near: str

    @property
    def seen(self) -> tuple[str, ...]:
        return self.names[:SEEN]

    @property
    def hidden(self) -> tuple[str, ...]:
        return self.names[SEEN:]

    def call(self, who: str, path: str, body: Any = None) -> Any:
        """Call MLflow's API as somebody."""
        http = self.house.http(who)
        answer = http.get(path) if body is None else http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


_scenes: dict[str, Scene] = {}


@pytest.fixture
def scene(house: House) -> Scene:
    if house.uri not in _scenes:
        _scenes[house.uri] = set_up(house)
    return _scenes[house.uri]


def set_up(house: House) -> Scene:
    prefix = f"v{secrets.token_hex(3)}"
    # `_` and `%` mean something to LIKE, and the last two differ from what is seen only there or in case.
    names = (*(f"{prefix}_in-{n}" for n in range(SEEN)), f"{prefix}_out", f"{prefix}xin-9", f"{prefix.upper()}_in-8")
    near = f"near-{prefix}"
    house.call("admin", "POST", "/principals", {"name": near, "roles": [f"{role}:{prefix}_in-*" for role in NEARS]})
    house.tokens[near] = house.call("admin", "POST", "/tokens", {"principal": near})["token"]
    experiments, runs = {}, {}
    with house.acting_as("ada") as client:
        for name in names:
            experiments[name] = client.create_experiment(name, tags={"scene": prefix})
            run = client.create_run(experiments[name], tags={"scene": prefix})
            runs[name] = run.info.run_id
            client.log_metric(run.info.run_id, "auc", 0.9)
            client.create_logged_model(experiments[name], f"logged-{name}", tags={"scene": prefix})
            client.create_registered_model(name, tags={"scene": prefix})
            source = f"runs:/{run.info.run_id}/model"
            client.create_model_version(name, source, run.info.run_id, tags={"scene": prefix}, await_creation_for=0)
            client.create_prompt(f"{name}-p", tags={"scene": prefix})
            client.create_dataset(f"data-{name}", [experiments[name]], tags={"scene": prefix})
            start_trace(house, experiments[name])
    return Scene(house, prefix, names, experiments, runs, near)


def start_trace(house: House, experiment: str) -> None:
    info = {
        "trace_id": f"tr-{secrets.token_hex(16)}",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
    }
    made = house.http("ada").post("/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
    assert made.is_success, made.text


NEARS = ("contributor", "reviewer", "operator")


@pytest.fixture
def near(scene: Scene) -> Iterator[MlflowClient]:
    with scene.house.acting_as(scene.near) as client:
        yield client


# Searches of MLflow's: what each gives, as names of the scene

Search = Callable[[MlflowClient, Scene, int, str | None], Any]


def _tagged(scene: Scene, kind: str = "tags") -> str:
    return f"{kind}.scene = '{scene.prefix}'"


def _all_ids(scene: Scene) -> list[str]:
    return list(scene.experiments.values())


SEARCHES: dict[str, tuple[Search, Callable[[Any, Scene], str]]] = {
    "registered models": (
        lambda c, s, n, t: c.search_registered_models(_tagged(s), n, page_token=t),
        lambda found, _: found.name,
    ),
    "prompts": (
        lambda c, s, n, t: c.search_registered_models(
            f"{_tagged(s)} AND tags.`mlflow.prompt.is_prompt` = 'true'", n, page_token=t
        ),
        lambda found, _: found.name.removesuffix("-p"),
    ),
    "versions by tag": (
        lambda c, s, n, t: c.search_model_versions(_tagged(s), n, page_token=t),
        lambda found, _: found.name,
    ),
    "versions by run": (
        lambda c, s, n, t: c.search_model_versions(
            "run_id IN (" + ",".join(f"'{run}'" for run in s.runs.values()) + ")", n, page_token=t
        ),
        lambda found, _: found.name,
    ),
    "experiments": (
        lambda c, s, n, t: c.search_experiments(filter_string=_tagged(s), max_results=n, page_token=t),
        lambda found, _: found.name,
    ),
    "runs": (
        lambda c, s, n, t: c.search_runs(_all_ids(s), _tagged(s), max_results=n, page_token=t),
        lambda found, s: next(name for name, of in s.experiments.items() if of == found.info.experiment_id),
    ),
    "logged models": (
        lambda c, s, n, t: c.search_logged_models(_all_ids(s), max_results=n, page_token=t),
        lambda found, _: found.name.removeprefix("logged-"),
    ),
    "traces": (
        lambda c, s, n, t: c.search_traces(locations=_all_ids(s), max_results=n, page_token=t, include_spans=False),
        lambda found, s: next(name for name, of in s.experiments.items() if of == found.info.experiment_id),
    ),
    "datasets": (
        lambda c, s, n, t: c.search_datasets(filter_string=_tagged(s), max_results=n, page_token=t),
        lambda found, _: found.name.removeprefix("data-"),
    ),
    "datasets by experiment": (
        lambda c, s, n, t: c.search_datasets(_all_ids(s), max_results=n, page_token=t),
        lambda found, _: found.name.removeprefix("data-"),
    ),
}


def walk(search: Search, client: MlflowClient, scene: Scene, size: int) -> list[list[Any]]:
    pages, token = [], None
    while True:
        page = search(client, scene, size, token)
        pages.append(list(page))
        token = page.token
        if not token:
            return pages


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_gives_what_may_be_seen_in_full_pages(scene: Scene, near: MlflowClient, kind: str) -> None:
    search, name_of = SEARCHES[kind]
    for size in (2, SEEN):
        pages = walk(search, near, scene, size)
        found = [name_of(one, scene) for page in pages for one in page]
        assert sorted(found) == sorted(scene.seen)
        assert [len(page) for page in pages] == ([2, 2, 1] if size == 2 else [SEEN])
    with scene.house.acting_as("sue") as everywhere:
        found = [name_of(one, scene) for page in walk(search, everywhere, scene, 50) for one in page]
    assert sorted(found) == sorted(scene.names)


def test_a_search_that_names_what_may_not_be_seen_finds_nothing_and_says_nothing(
    scene: Scene, near: MlflowClient
) -> None:
    hidden = scene.hidden[0]
    run, experiment = scene.runs[hidden], scene.experiments[hidden]
    nowhere: list[Callable[[MlflowClient], Any]] = [
        lambda c: c.search_registered_models(f"name = '{hidden}'"),
        lambda c: c.search_model_versions(f"name = '{hidden}'"),
        lambda c: c.search_model_versions(f"run_id = '{run}'"),
        lambda c: c.search_model_versions(f"source_path = 'runs:/{run}/model'"),
        lambda c: c.search_experiments(filter_string=f"name = '{hidden}'"),
        lambda c: c.search_runs([experiment]),
        lambda c: c.search_logged_models([experiment]),
        lambda c: c.search_traces(locations=[experiment], include_spans=False),
        lambda c: c.search_datasets([experiment]),
    ]
    assert [len(search(near)) for search in nowhere] == [0] * len(nowhere)
    with scene.house.acting_as("sue") as everywhere:
        assert [len(search(everywhere)) for search in nowhere] == [1] * len(nowhere)


def test_single_things_are_not_found_in_the_words_of_what_is_not_there(scene: Scene, near: MlflowClient) -> None:
    hidden, shown, absent = scene.hidden[0], scene.seen[0], f"{scene.prefix}_nowhere"
    calls: list[Callable[[str], Any]] = [
        near.get_registered_model,
        near.get_latest_versions,
        lambda name: near.get_model_version(name, "1"),
        lambda name: near.get_model_version_by_alias(name, "champion"),
    ]
    for call in calls[:3]:
        assert call(shown)
    for call in calls:
        said = []
        for name in (hidden, absent):
            with pytest.raises(MlflowException) as refused:
                call(name)
            assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
            said.append(str(refused.value).replace(name, "NAME"))
        assert said[0] == said[1]


def test_graphql_shows_no_more(scene: Scene) -> None:
    query = {
        "operationName": "F",
        "query": "query F($i: MlflowSearchRunsInput!) { mlflowSearchRuns(input: $i) { runs { info { runId } } } }",
        "variables": {"i": {"experimentIds": _all_ids(scene)}},
    }
    found = {
        who: len(scene.call(who, "/graphql", query)["data"]["mlflowSearchRuns"]["runs"] or [])
        for who in (scene.near, "sue")
    }
    assert found == {scene.near: SEEN, "sue": SEEN + HIDDEN}


def test_webhooks_tell_of_every_model_so_they_are_for_maintainers_of_all(scene: Scene) -> None:
    body = {
        "name": f"hook-{scene.prefix}", "url": "https://8.8.8.8/hook",
        "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}],
    }  # fmt: skip
    made = scene.call("admin", f"{API}/webhooks", body)["webhook"]["webhook_id"]
    assert made in [hook["webhook_id"] for hook in scene.call("max", f"{API}/webhooks")["webhooks"]]
    assert scene.house.http(scene.near).get(f"{API}/webhooks").status_code == 403


# Our own lists


@pytest.fixture
def busy(scene: Scene) -> dict[str, int]:
    """Ask for a promotion of each model; returns the numbers of the requests, by model."""
    house, asked = scene.house, {}
    for name in scene.names:
        body = {"model": name, "version": "1", "target": "alias:champion", "comment": scene.prefix}
        asked[name] = house.call("ada", "POST", "/requests", body)["id"]
    return asked


def _walk_ours(scene: Scene, who: str, path: str, key: str, size: int) -> list[list[Any]]:
    pages, token = [], ""
    while True:
        found = scene.house.call(who, "GET", f"{path}max_results={size}{token and '&page_token=' + token}")
        pages.append(found[key])
        token = found["next_page_token"]
        if not token:
            return pages


def test_requests_are_listed_and_shown_to_who_sees_the_model(scene: Scene, busy: dict[str, int]) -> None:
    for size in (2, SEEN):
        pages = _walk_ours(scene, scene.near, "/requests?", "requests", size)
        assert sorted(one["model"] for page in pages for one in page) == sorted(scene.seen)
        assert [len(page) for page in pages] == ([2, 2, 1] if size == 2 else [SEEN])
    everything = {one["model"] for page in _walk_ours(scene, "sue", "/requests?", "requests", 200) for one in page}
    assert everything >= set(scene.names)
    hidden, shown = busy[scene.hidden[0]], busy[scene.seen[0]]
    assert scene.house.call(scene.near, "GET", f"/requests/{shown}")["model"] == scene.seen[0]
    for method, path in (("GET", ""), *(("POST", f"/{act}") for act in ("approve", "reject", "withdraw", "promote"))):
        said = [
            scene.house.call(scene.near, method, f"/requests/{number}{path}", {} if path else None, 404)["message"]
            for number in (hidden, 999_999)
        ]
        assert said[0].replace(str(hidden), "N") == said[1].replace("999999", "N")
    for number in (hidden, 999_999):
        asked = f"/access/explain?principal=sue&action=review&request={number}"
        said = scene.house.call(scene.near, "GET", asked, status=404)["message"]
        assert said == f"There is no promotion request {number}. `lockgate requests` lists them."
    explained = scene.house.call(scene.near, "GET", f"/access/explain?principal=sue&action=review&request={shown}")
    assert explained["model"] == scene.seen[0]
    query = f"{API}/transition-requests/list?version=1&name="
    assert scene.call(scene.near, query + scene.seen[0]) == {"requests": []}
    assert scene.house.http(scene.near).get(query + scene.hidden[0]).status_code == 404


def test_what_is_said_to_a_model_one_may_not_see_is_said_to_nothing(scene: Scene) -> None:
    target = {"version": "1", "target": "alias:champion"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/requests", target),
        ("POST", "/checks", {"version": "1", "name": "smoke", "status": "success"}),
        ("POST", "/holds", {"version": "1", "reason": "wait"}),
        ("POST", "/break-glass", {**target, "reason": "fire"}),
        ("POST", "/models/NAME/rollback", {"target": "alias:champion", "reason": "bad"}),
        ("GET", "/models/NAME/history", {}),
    ]
    for method, path, body in calls:
        said = []
        for name in (scene.hidden[0], f"{scene.prefix}_nowhere"):
            full = body if "NAME" in path else {"model": name, **body}
            found = scene.house.call(scene.near, method, path.replace("NAME", name), full or None, 404)
            said.append(found["message"].replace(name, "NAME"))
        assert said == ["Registered Model with name=NAME not found"] * 2
    reported = {"model": scene.seen[0], "version": "1", "name": "smoke", "status": "success"}
    assert scene.house.call(scene.near, "POST", "/checks", reported)["status"] == "success"
    assert scene.house.call(scene.near, "GET", f"/models/{scene.seen[0]}/history")["history"] == []


def test_evidence_does_not_depend_on_who_looks(scene: Scene) -> None:
    """Somebody who sees the model, and not the experiment of its run, is shown the same, and changes nothing."""
    house, name = scene.house, f"{scene.prefix}_in-e"
    with house.acting_as("ada") as client:
        client.create_registered_model(name)
        hidden = scene.runs[scene.hidden[0]]
        client.create_model_version(name, f"runs:/{hidden}/model", hidden, await_creation_for=0)
    asked = house.call("ada", "POST", "/requests", {"model": name, "version": "1", "target": "stage:Production"})
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    shown = {who: house.call(who, "GET", f"/requests/{asked['id']}") for who in ("sam", scene.near, "rex")}
    assert {seen["evidence"]["digest"] for seen in shown.values()} == {asked["evidence"]["digest"]}
    assert {seen["state"] for seen in shown.values()} == {"approved"}
    with house.acting_as(scene.near) as client:
        assert client.search_runs([scene.experiments[scene.hidden[0]]]) == []
    with house.acting_as("admin") as client:
        client.delete_registered_model(name)


def test_holds_and_comments_belong_to_their_model(scene: Scene) -> None:
    house = scene.house
    held = {
        name: house.call("sue", "POST", "/holds", {"model": name, "version": "1", "reason": "wait"})["id"]
        for name in (scene.seen[0], scene.hidden[0])
    }
    assert [one["model"] for one in house.call(scene.near, "GET", "/holds")["holds"]] == [scene.seen[0]]
    assert {one["model"] for one in house.call("sue", "GET", "/holds")["holds"]} >= set(held)
    said = house.call(scene.near, "DELETE", f"/holds/{held[scene.hidden[0]]}", status=404)["message"]
    assert said.startswith(f"There is no hold {held[scene.hidden[0]]}.")
    house.call(scene.near, "DELETE", f"/holds/{held[scene.seen[0]]}", status=204)
    commented = {
        name: scene.call("sue", f"{API}/comments/create", {"name": name, "version": "1", "comment": "hm"})
        for name in (scene.seen[0], scene.hidden[0])
    }
    near = house.http(scene.near)
    for name, status in ((scene.seen[0], 403), (scene.hidden[0], 404)):  # another's comment, and none
        change = {"id": commented[name]["comment"]["id"], "comment": "mine"}
        assert near.patch(f"{API}/comments/update", json=change).status_code == status
    house.call("sue", "DELETE", f"/holds/{held[scene.hidden[0]]}", status=204)


def test_emergencies_and_freezes_are_listed_to_who_sees_the_model(scene: Scene) -> None:
    house = scene.house
    for name in (scene.seen[1], scene.hidden[1]):
        body = {"model": name, "version": "1", "target": "stage:Production", "reason": "fire"}
        house.call("oz", "POST", "/break-glass", body)
    broken = {who: house.call(who, "GET", "/break-glass")["break_glass"] for who in (scene.near, "sue")}
    assert [one["model"] for one in broken[scene.near]] == [scene.seen[1]]
    assert {one["model"] for one in broken["sue"]} >= {scene.seen[1], scene.hidden[1]}
    hidden = next(one["id"] for one in broken["sue"] if one["model"] == scene.hidden[1])
    house.call(scene.near, "POST", f"/break-glass/{hidden}/review", {"verdict": "approve"}, 404)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3_600))
    frozen = {}
    for pattern in (f"{scene.prefix}_in-*", f"{scene.prefix}_in-0", f"{scene.prefix}_o*", scene.hidden[1]):
        body = {"models": pattern, "to": until, "reason": "audit"}
        frozen[pattern] = house.call("oz", "POST", "/freezes", body)["id"]
    listed = {who: {one["id"] for one in house.call(who, "GET", "/freezes")["freezes"]} for who in (scene.near, "oz")}
    numbers = list(frozen.values())
    assert listed[scene.near] & set(numbers) == set(numbers[:2])
    assert listed["oz"] >= set(numbers)
    house.call(scene.near, "DELETE", f"/freezes/{numbers[2]}", status=404)
    for number in numbers:
        house.call("oz", "DELETE", f"/freezes/{number}", status=204)


def test_the_audit_log_tells_of_what_may_be_seen(scene: Scene, busy: dict[str, int]) -> None:
    pages = _walk_ours(scene, scene.near, "/audit?", "entries", 20)
    assert {len(page) for page in pages[:-1]} <= {20}
    assert pages[-1]
    told = {entry["model"] for page in pages for entry in page if entry["model"]}
    assert told >= {*scene.seen, *(f"{name}-p" for name in scene.seen)}
    assert all(name.startswith(f"{scene.prefix}_in-") for name in told)
    numbers = [entry["id"] for page in pages for entry in page]
    assert len(numbers) == len(set(numbers))
    assert any(entry["model"] is None for page in pages for entry in page)  # people and policies
    hidden = f"/audit?model={scene.hidden[0]}"
    assert scene.house.call(scene.near, "GET", hidden)["entries"] == []
    assert scene.house.call("sue", "GET", hidden)["entries"]


def test_how_people_get_in_is_told_to_who_governs_and_to_themselves(scene: Scene) -> None:
    house, name = scene.house, f"door-{scene.prefix}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"]})
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    linked = {"issuer": "https://issuer.example", "subject": f"sub-{scene.prefix}"}
    house.call("admin", "POST", f"/principals/{name}/identities", linked)
    own = house.call(name, "POST", "/tokens", {"principal": name})
    wrong = house.http(None).get(f"{API}/experiments/get?experiment_id=0", auth=("nobody", scene.prefix))
    assert wrong.status_code == 401
    kinds = ("sign_in.", "sign_out.", "identity.", "token.")

    def told(who: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = house.call(who, "GET", "/audit?max_results=200")["entries"]
        return found

    governing = told("max")
    assert {entry["action"] for entry in governing} >= {"identity.linked", "token.created", "sign_in.refused"}
    assert all(entry["address"] for entry in governing if entry["actor"] == name)
    for who in ("vic", "sue", name, scene.near):
        found = told(who)
        assert {entry["actor"] for entry in found if entry["action"].startswith(kinds)} <= {who}, who
        assert {entry["actor"] for entry in found if entry["address"]} <= {who}, who
        assert linked["subject"] not in str(found)
        assert any(entry["action"] == "principal.changed" for entry in found), who
    assert [entry["action"] for entry in told(name) if entry["actor"] == name] == ["token.created"]
    house.call(name, "DELETE", f"/tokens/{own['id']}", status=204)


def test_who_is_let_in_further_sees_more_at_the_next_call(scene: Scene) -> None:
    name = f"more-{scene.prefix}"
    scene.house.call("admin", "POST", "/principals", {"name": name, "roles": [f"viewer:{scene.hidden[0]}"]})
    scene.house.tokens[name] = scene.house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    with scene.house.acting_as(name) as client:
        assert [one.name for one in client.search_registered_models()] == [scene.hidden[0]]
        scene.house.call("admin", "PATCH", f"/principals/{name}", {"roles": ["viewer:" + scene.prefix + "_in-[0-1]"]})
        assert [one.name for one in client.search_registered_models()] == list(scene.seen[:2])
        scene.house.call("admin", "PATCH", f"/principals/{name}", {"roles": ["viewer"]})
        ours = client.search_registered_models(filter_string=f"name ILIKE '{scene.prefix}%'", max_results=1000)
        assert {one.name for one in ours} >= set(scene.names)


# Page tokens


def test_a_page_token_of_another_list_or_search_is_refused(scene: Scene, busy: dict[str, int]) -> None:
    call = scene.house.call
    token = call("sue", "GET", "/requests?max_results=1")["next_page_token"]
    assert call("sue", "GET", f"/requests?max_results=1&page_token={token}")["requests"]
    for path in ("/audit?", "/requests?state=open&", f"/requests?model={scene.hidden[0]}&", "/requests?reviewer=sue&"):
        said = call("sue", "GET", f"{path}page_token={token}", status=400)
        assert "Start again without one" in said["message"]
    # It is no permission: with another's token one sees one's own.
    page = call(scene.near, "GET", f"/requests?page_token={token}")
    assert {one["model"] for one in page["requests"]} <= set(scene.seen)


PAGED = {
    "registered-models/search": {},
    "model-versions/search": {},
    "experiments/search": {"max_results": 5},
    "runs/search": {"experiment_ids": ["0"]},
    "logged-models/search": {"experiment_ids": ["0"]},
}
_fragments = st.sampled_from(
    ["name", "tags.a", "tags.`a b`", "params.x", "metrics.auc", "attributes.status", "run_id", "=", "!=", "LIKE", "ILIKE",
     "IN", ">", "'a'", "'%'", "'a_b'", "0.5", "('a','b')", "AND", "OR", "(", ")", "`", "'", '"', "--", "é", "\\", " "]
)  # fmt: skip
_ordered = st.one_of(
    st.lists(
        _fragments | st.sampled_from(["name DESC", "metrics.a ASC", "params.a", "attributes.start_time"]), max_size=4
    ),
    st.integers(1, 90).map(lambda many: [f"metrics.a{n}" for n in range(many)]),
    st.integers(1, 90).map(lambda many: [f"tags.a{n} DESC" for n in range(many)]),
)
_tokens = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=20).map(bytes.hex),
    st.sampled_from([
        "e30=", "W10=", "bnVsbA==", "eyJvZmZzZXQiOiAtMX0=", "eyJvZmZzZXQiOiAiMSJ9", "eyJvZmZzZXQiOiAxZTQwMH0=",
        "eyJvZmZzZXQiOiA5OTk5OTk5OTk5OTk5OTk5OTk5OTl9", "eyJvZmZzZXQiOiAxfQ==", "eyJvZmZzZXQiOiB7fX0=",
    ]),
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(PAGED)),
    st.lists(_fragments, max_size=6).map(" ".join),
    st.none() | _ordered,
    st.none() | _tokens,
    st.booleans(),
)
def test_no_filter_no_order_and_no_token_breaks_a_search(
    scene: Scene, path: str, sought: str, ordered: list[str] | None, token: str | None, limited: bool
) -> None:
    asked = {**PAGED[path], "filter": sought, **({} if token is None else {"page_token": token})}
    if ordered is not None:
        by_field = path == "logged-models/search"
        asked["order_by"] = [{"field_name": one} for one in ordered] if by_field else ordered
    http = scene.house.http(scene.near if limited else "sue")
    is_get = path.split("/")[0] in ("registered-models", "model-versions")
    encoded = {key: value for key, value in asked.items() if "\0" not in str(value)}
    answer = http.get(f"{API}/{path}", params=encoded) if is_get else http.post(f"{API}/{path}", json=encoded)
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "search",
    [
        {"filter": "run_id IN ('a', 'b')"},
        {"filter": "metrics.auc = name"},
        {"order_by": [{"field_name": "metrics.`a"}]},
        {"order_by": [{}]},
    ],
)
def test_a_search_that_mlflow_can_not_read_is_refused_in_a_sentence(scene: Scene, search: dict[str, Any]) -> None:
    body = {"experiment_ids": _all_ids(scene), **search}
    answer = scene.house.http("sue").post(f"{API}/logged-models/search", json=body)
    assert answer.status_code in (200, 400), answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", sorted(PAGED))
def test_a_page_token_that_no_search_gave_is_refused_in_a_sentence(scene: Scene, path: str) -> None:
    is_get = path.split("/")[0] in ("registered-models", "model-versions")
    for token in ("W10=", "ü", "eyJvZmZzZXQiOiA5OTk5OTk5OTk5OTk5OTk5OTk5OTl9"):
        asked = {**PAGED[path], "page_token": token}
        http = scene.house.http(scene.near)
        answer = http.get(f"{API}/{path}", params=asked) if is_get else http.post(f"{API}/{path}", json=asked)
        assert answer.status_code == 400
        assert "Start again without one" in answer.json()["message"]
