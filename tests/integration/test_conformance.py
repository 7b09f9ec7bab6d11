"""Where no rule says otherwise, Lockgate answers as a stock `mlflow server` does: status, error code, words, values."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import filter as fnmatches
from fnmatch import fnmatchcase
from itertools import cycle
from typing import Any

import httpx
import psycopg
import pytest
from mlflow import MlflowClient
from mlflow.entities._mlflow_object import _MlflowObject
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from lockgate.database.engine import real_uri
from tests.conftest import BACKENDS
from tests.house import NO_RULES, House, Server, acting, stock_server
from tests.integration.calls import EVERY_ROUTE, IS_PROMPT, PROMPTS, SEQUENCES, Call

PREFIXES = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")

# Where Lockgate means to answer otherwise: the calls by their names, and what stock does. A call that is listed here
# and that stock answers in another way fails, so that the list stays true.

#: A 4xx in the database's own words, with the statement and its values. Lockgate answers 4xx, in words of its own.
SHOWS_SQL = "a 4xx that shows SQL"
#: A 5xx for what is wrong with the call. Lockgate answers 4xx, or the same.
FAILS = "a 5xx"
#: A 4xx that shows SQL, because PostgreSQL does not read every number that Python reads. Lockgate takes it, as stock
#: does on SQLite.
READS_LESS = "a 4xx that shows SQL, for a call that is good"

KNOWN: dict[str, dict[str, str]] = {
    "sqlite": {
        "rename *to a taken name": SHOWS_SQL,
        "* of a version beyond 63 bits": FAILS,
        "model-versions/search by a version beyond 63 bits": FAILS,
        "an offset beyond 63 bits": FAILS,
        "a page token that is *": FAILS,
        "nested 2000 deep": FAILS,
        "a body that is *": FAILS,
        "* of version *, a run's": FAILS,
        "a search for what is NULL": FAILS,
        "a list where a number should be": FAILS,
    },
    "postgresql": {
        "rename *to a taken name": SHOWS_SQL,
        "* of a version beyond * bits": SHOWS_SQL,
        "archiving of a version of 5000 digits": SHOWS_SQL,
        "model-versions/search by a version beyond * bits": SHOWS_SQL,
        "an offset below 0": SHOWS_SQL,
        "a page token that is *": FAILS,
        "nested 2000 deep": FAILS,
        "a body that is *": FAILS,
        "* of version *, a run's": FAILS,
        "a search for what is NULL": FAILS,
        "a list where a number should be": FAILS,
        "an offset beyond 63 bits": SHOWS_SQL,
        "archive others, not a number: *": SHOWS_SQL,
        "archive others, other digits: *": READS_LESS,
        "too long for a column: *": SHOWS_SQL,
        "NUL in a value: *": SHOWS_SQL,
        "NUL in a name: *": SHOWS_SQL,
    },
}

DATABASE_WORDS = ("SELECT", "INSERT", "UPDATE ", "sqlalche.me", "psycopg", "sqlite3")
#: The password in the URI of Lockgate's database: no answer may tell it.
SECRET = "do-not-tell"
# Each server names its own database in this message; a URI that tells the password is left to be seen.
TRACKING_URI = re.compile(rf"(it was currently set to )(?!\S*{SECRET})\S+(\. Perhaps)")


@dataclass(frozen=True)
class Answer:
    """What came back, without what differs from server to server and from run to run."""

    status: int
    kind: str
    body: Any

    def __str__(self) -> str:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)
        return f"{self.status} {self.kind} {text if len(text) < 1500 else text[:1500] + '...'}"

    def shows_sql(self, call: Call) -> bool:
        """Say whether the database speaks; words that the call itself brought do not count."""
        return any(word in str(self.body) and word not in str(call) for word in DATABASE_WORDS)


class Reader:
    """Reads one server's answers to one sequence of calls.

    Times become numbers in the order in which they first appear: so it shows which call moves which time.
    """

    TIMES = ("creation_timestamp", "last_updated_timestamp", "creation_timestamp_ms", "last_updated_timestamp_ms")
    UNORDERED = ("tags", "aliases", "latest_versions")

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._times: dict[int, str] = {}

    def answer(self, response: httpx.Response, call: Call) -> Answer:
        kind = response.headers.get("content-type", "").partition(";")[0]
        try:
            body = self.plain(response.json())
        except ValueError:
            body = self.plain(response.text)
        if call.path.endswith("get-latest-versions") and "model_versions" in body:
            body["model_versions"].sort(key=repr)
        return Answer(response.status_code, kind, body)

    def plain(self, value: Any) -> Any:
        """Return a value of JSON without what is the server's own."""
        if isinstance(value, Mapping):
            return {key: self._field(key, inner) for key, inner in sorted(value.items())}
        if isinstance(value, list):
            return [self.plain(inner) for inner in value]
        if isinstance(value, str):
            for real, name in self._names.items():
                value = value.replace(real, name)
            return TRACKING_URI.sub(r"\1<tracking URI>\2", value)
        return value

    def _field(self, key: str, value: Any) -> Any:
        if key in self.TIMES and isinstance(value, int):
            return self._times.setdefault(value, f"<time {len(self._times)}>")
        if key in self.UNORDERED and isinstance(value, list):
            return sorted((self.plain(inner) for inner in value), key=repr)
        return self.plain(value)


@dataclass
class Side:
    """One of the two servers."""

    server: Server
    token: str | None
    http: httpx.Client
    #: What is there before any call, by what the calls and the answers call it.
    known: dict[str, str] = field(default_factory=dict)

    def furnish(self) -> None:
        """Make two runs, and a logged model with files."""
        for run in ("<run>", "<other run>"):
            self.known[run] = self._api("POST", "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        run_id = self.known["<run>"]
        made = self._api("POST", "logged-models", {"experiment_id": "0", "name": "model", "source_run_id": run_id})
        model_id = self.known["<logged model>"] = made["model"]["info"]["model_id"]
        self._api("PATCH", f"logged-models/{model_id}", {"model_id": model_id, "status": "LOGGED_MODEL_READY"})
        for folder in (f"{run_id}/artifacts/model", f"models/{model_id}/artifacts"):
            for file in ("MLmodel", "conf/a.txt"):
                path = f"/api/2.0/mlflow-artifacts/artifacts/0/{folder}/{file}"
                self.http.put(path, content=b"run_id: none\n").raise_for_status()

    def clear(self) -> None:
        """Delete every registered model and prompt."""
        for condition in ("", PROMPTS):
            found = self._api("GET", "registered-models/search", {"filter": condition, "max_results": 1000})
            for model in found.get("registered_models", []):
                self._api("DELETE", "registered-models/delete", {"name": model["name"]})

    def _api(self, method: str, path: str, body: Any) -> Any:
        return self.http.request(method, f"{PREFIXES[0]}/{path}", json=body).raise_for_status().json()

    def answers(self, calls: Iterable[tuple[Call, str]]) -> list[Answer]:
        """Send calls, each under a prefix."""
        reader = Reader(self._names())
        return [reader.answer(self._send(call, prefix), call) for call, prefix in calls]

    def _send(self, call: Call, prefix: str) -> httpx.Response:
        path = call.path if call.path.startswith("/") else f"{prefix}/{call.path}"
        content = call.raw
        if content is None and call.body is not None:
            content = json.dumps(self._insert(call.body)).encode()
        return self.http.request(
            call.method,
            self.server.uri + self._insert(path),
            params=self._insert(call.query),
            content=content,
            headers={"Content-Type": call.content_type} if content is not None and call.content_type else {},
        )

    def _insert(self, value: Any) -> Any:
        """Put in the ids of the known things."""
        if isinstance(value, Mapping):
            return {key: self._insert(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._insert(inner) for inner in value]
        if isinstance(value, str):
            for name, real in self.known.items():
                value = value.replace(name, real)
        return value

    def _names(self) -> dict[str, str]:
        """Return what to call what is this server's own."""
        own = {str(self.server.folder): "<folder>", self.server.uri: "<server>"}
        return own | {real: name for name, real in self.known.items()}

    def through_the_client(self) -> dict[str, Any]:
        """Take the steps of `CLIENT` with the real client; return what each returned or raised."""
        reader = Reader(self._names())
        with acting(self.server.uri, self.token) as client:
            return {name: reader.plain(_outcome(step, client, self.known["<run>"])) for name, step in CLIENT.items()}


@dataclass
class Pair:
    """A stock server and Lockgate, each on an empty database of the same kind."""

    backend: str
    stock: Side
    ours: Side

    def differences(self, calls: list[Call], prefixes: Iterable[str]) -> list[str]:
        """Send the calls to both; return what differed, as text to read."""
        sent = list(zip(calls, prefixes, strict=False))
        with ThreadPoolExecutor() as both:
            stock, ours = both.map(lambda side: side.answers(sent), (self.stock, self.ours))
        return [
            f"#{position} {call}\n  {wrong}\n  stock    {theirs}\n  lockgate {mine}"
            for position, (call, theirs, mine) in enumerate(zip(calls, stock, ours, strict=True))
            if (wrong := self._wrong(call, theirs, mine))
        ]

    def _wrong(self, call: Call, stock: Answer, ours: Answer) -> str | None:
        if SECRET in str(ours.body):
            return "tells the password of the database"
        if ours.shows_sql(call):
            return "shows SQL"
        known = next((what for name, what in KNOWN[self.backend].items() if fnmatchcase(call.name, name)), None)
        if known is None:
            return None if stock == ours else "differs"
        if not (stock.status >= 500 if known == FAILS else 400 <= stock.status < 500 and stock.shows_sql(call)):
            return f"is listed as known that stock answers {known}, and it does not"
        if known == READS_LESS:
            return None if ours.status == 200 else "should be taken"
        refused = 400 <= ours.status < 500 and "error_code" in ours.body
        return None if refused or (known == FAILS and stock == ours) else "should be a 4xx"


@pytest.fixture(scope="module", params=BACKENDS)
def both_servers(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    same_order = {"PYTHONHASHSEED": "0"}  # of what messages list from sets
    database = new_database(request.param)
    if request.param == "postgresql":
        _compare_numbers_with_text(database)
    stock = stock_server(tmp_path_factory.mktemp("stock"), real_uri(database))
    stock.environment |= same_order
    ours = new_database(request.param).replace("//postgres:@", f"//postgres:{SECRET}@")
    house = House(tmp_path_factory.mktemp("lockgate"), ours, environment=same_order)
    try:
        with ThreadPoolExecutor() as both, httpx.Client(base_url=stock.uri, timeout=60) as http:
            list(both.map(lambda start: start(), (stock.start, house.open)))
            house.apply_policy(NO_RULES)
            pair = Pair(
                request.param,
                Side(stock, None, http),
                Side(house.server, house.tokens["ada"], house.http("ada")),
            )
            pair.stock.furnish()
            pair.ours.furnish()
            yield pair
    finally:
        house.close()
        stock.stop()


def _compare_numbers_with_text(database: str) -> None:
    """Mend what stock can't do on psycopg 3: to archive, it compares the number of a version with a text.

    psycopg2, for which it was written, leaves it to PostgreSQL what to make of the text. psycopg 3 says that it is
    one, and no operator compares a text with a number.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE CAST (varchar AS integer) WITH INOUT AS IMPLICIT")


@pytest.fixture
def pair(both_servers: Pair) -> Pair:
    both_servers.stock.clear()
    both_servers.ours.clear()
    return both_servers


# The real client puts calls together, and raises what it is answered.

CLIENT: dict[str, Callable[[MlflowClient, str], Any]] = {
    "create a model": lambda c, _: c.create_registered_model("churn", {"team": "growth"}, "who leaves"),
    "create it again": lambda c, _: c.create_registered_model("churn"),
    "create a version of a run": lambda c, run: c.create_model_version(
        "churn", f"runs:/{run}/model", run, {"auc": "0.9"}, description="first", await_creation_for=0
    ),
    "create a version of no run": lambda c, _: c.create_model_version("churn", "s3://models/2", await_creation_for=0),
    "create a version of no model": lambda c, _: c.create_model_version("nobody", "s3://models/2"),
    "describe the model": lambda c, _: c.update_registered_model("churn", "who stays"),
    "describe the version": lambda c, _: c.update_model_version("churn", "2", "second"),
    "tag the model": lambda c, _: c.set_registered_model_tag("churn", "tier", 1),
    "untag the model": lambda c, _: c.delete_registered_model_tag("churn", "tier"),
    "tag the version": lambda c, _: c.set_model_version_tag("churn", "1", "checked", True),
    "untag the version": lambda c, _: c.delete_model_version_tag("churn", "1", "checked"),
    "tag the latest in a stage": lambda c, _: c.set_model_version_tag("churn", key="a", value="b", stage="None"),
    "untag the latest in a stage": lambda c, _: c.delete_model_version_tag("churn", key="a", stage="None"),
    "tag a stage that nothing is in": lambda c, _: c.set_model_version_tag("churn", key="a", stage="Staging"),
    "move": lambda c, _: c.transition_model_version_stage("churn", "1", "production"),
    "move and archive": lambda c, _: c.transition_model_version_stage("churn", 2, "Production", True),
    "move to nowhere": lambda c, _: c.transition_model_version_stage("churn", "1", "Canary"),
    "alias": lambda c, _: c.set_registered_model_alias("churn", "champion", "1"),
    "alias a number": lambda c, _: c.set_registered_model_alias("churn", "challenger", 2),
    "alias by a reserved name": lambda c, _: c.set_registered_model_alias("churn", "v1", "1"),
    "read an alias": lambda c, _: c.get_model_version_by_alias("churn", "champion"),
    "read an alias that is not": lambda c, _: c.get_model_version_by_alias("churn", "nothing"),
    "delete an alias": lambda c, _: c.delete_registered_model_alias("churn", "challenger"),
    "read the model": lambda c, _: c.get_registered_model("churn"),
    "read no model": lambda c, _: c.get_registered_model("nobody"),
    "read a version": lambda c, _: c.get_model_version("churn", "1"),
    "read no version": lambda c, _: c.get_model_version("churn", "9"),
    "read the latest": lambda c, _: sorted(c.get_latest_versions("churn"), key=lambda found: found.version),
    "read the latest in a stage": lambda c, _: c.get_latest_versions("churn", ["Production"]),
    "read the stages": lambda c, _: c.get_model_version_stages("churn", "1"),
    "read the source": lambda c, _: c.get_model_version_download_uri("churn", "1"),
    "search models": lambda c, _: c.search_registered_models("name LIKE 'c%'", 1, ["name DESC"]),
    "search versions": lambda c, _: c.search_model_versions("name = 'churn'", 1, ["version_number ASC"]),
    "search badly": lambda c, _: c.search_model_versions("stage = 'Production'"),
    "copy a version": lambda c, _: c.copy_model_version("models:/churn@champion", "copy"),
    "copy no version": lambda c, _: c.copy_model_version("models:/churn/9", "copy"),
    "rename": lambda c, _: c.rename_registered_model("churn", "attrition"),
    "rename no model": lambda c, _: c.rename_registered_model("churn", "nobody"),
    "delete a version": lambda c, _: c.delete_model_version("attrition", "1"),
    "delete it again": lambda c, _: c.delete_model_version("attrition", "1"),
    "delete the model": lambda c, _: c.delete_registered_model("attrition"),
    "delete it once more": lambda c, _: c.delete_registered_model("attrition"),
    "register a prompt": lambda c, _: c.register_prompt("greeting", "Hello {{name}}", "first", {"tone": "warm"}),
    "register it again": lambda c, _: c.register_prompt("greeting", "Hi {{name}}"),
    "alias the prompt": lambda c, _: c.set_prompt_alias("greeting", "production", 1),
    "load the prompt": lambda c, _: c.load_prompt("prompts:/greeting@production").template,
    "search prompts": lambda c, _: [found.name for found in c.search_prompts()],
    "create a model of its name": lambda c, _: c.create_registered_model("greeting"),
    "tag the prompt": lambda c, _: c.set_registered_model_tag("greeting", IS_PROMPT, "true"),
    "unalias the prompt": lambda c, _: c.delete_prompt_alias("greeting", "production"),
    "delete a version of the prompt": lambda c, _: c.delete_prompt_version("greeting", "1"),
    "search what is left": lambda c, _: c.search_registered_models(),
}


def _outcome(step: Callable[[MlflowClient, str], Any], client: MlflowClient, run: str) -> Any:
    try:
        return _as_json(step(client, run))
    except MlflowException as error:
        return {"raised": type(error).__name__, "error_code": error.error_code, "message": error.message}


def _as_json(value: Any) -> Any:
    if isinstance(value, PagedList):
        return {"found": [_as_json(inner) for inner in value], "token": value.token}
    if isinstance(value, _MlflowObject):
        value = dict(value)
    if isinstance(value, Mapping):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Iterable):
        return [_as_json(inner) for inner in value]
    return _as_json(vars(value))


def test_the_real_client_sees_no_difference(pair: Pair) -> None:
    stock, ours = pair.stock.through_the_client(), pair.ours.through_the_client()
    differences = [
        f"{name}\n  stock    {stock[name]}\n  lockgate {ours[name]}" for name in CLIENT if stock[name] != ours[name]
    ]
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_route_answers_alike(pair: Pair, prefix: str) -> None:
    differences = pair.differences(EVERY_ROUTE, cycle([prefix]))
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_good_and_bad_calls_are_answered_alike(pair: Pair, sequence: str) -> None:
    calls = SEQUENCES[sequence]
    differences = pair.differences(calls, cycle(PREFIXES))
    assert not differences, f"{len(differences)} of {len(calls)} calls\n" + "\n".join(differences)


def test_known_differences_are_of_calls_that_there_are() -> None:
    names = [call.name for calls in SEQUENCES.values() for call in calls]
    assert not [name for known in KNOWN.values() for name in known if not fnmatches(names, name)]
