"""The article's webhooks: its own calls set them up, its own handler takes them and starts its pipeline."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from lockgate.client import LockgateClient
from tests.conftest import BACKENDS
from tests.house import House, acting, free_port
from tests.integration.test_webhooks import ALLOWED, until
from tests.receivers import Receiver, status

CI_TOKEN = "the token of the article's CI"


@pytest.fixture(params=BACKENDS)
def house(request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    with closing(House(tmp_path, new_database(request.param), environment=ALLOWED)) as opened:
        yield opened.open()


@contextmanager
def handler(gitlab: Receiver) -> Iterator[str]:
    """Run the article's handler with uvicorn; yield where it listens."""
    port = free_port()
    environment = {
        **os.environ,
        "CI_WEBHOOK_TOKEN": CI_TOKEN,
        "GITLAB_URL": gitlab.url.removesuffix("/hook"),
        "GITLAB_PROJECT_ID": "42",
        "GITLAB_TOKEN": "trigger-token",
    }
    command = [sys.executable, "-m", "uvicorn", "tests.integration.article_handler:app", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            uri = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx.get(uri)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield uri
        finally:
            process.kill()


def test_the_articles_handler_starts_its_pipeline_at_a_transition_to_staging(house: House) -> None:
    model = house.new_model()
    with Receiver(status(201, b'{"id": 1}')) as gitlab, handler(gitlab) as uri:
        with acting(house.uri, house.tokens["admin"]):
            os.environ["CI_WEBHOOK_TOKEN"] = CI_TOKEN
            client = LockgateClient()
            made = client.create_registry_webhook(
                events=["MODEL_VERSION_TRANSITIONED_TO_STAGING"],
                http_url_spec={
                    "url": f"{uri}/api/webhooks/mlflow-staging",
                    "enable_ssl_verification": True,
                    "authorization": f"Bearer {os.environ['CI_WEBHOOK_TOKEN']}",
                },
                description="Trigger CI validation when model reaches Staging",
            )
            assert [one.id for one in client.list_registry_webhooks()] == [made.id]
        with house.acting_as("ada") as client:
            client.transition_model_version_stage(model, "1", "Staging")
        until(lambda: gitlab.requests)
        [started] = gitlab.requests
        assert started.target == "/api/v4/projects/42/trigger/pipeline"
        assert {name: values[0] for name, values in parse_qs(started.body.decode()).items()} == {
            "token": "trigger-token",
            "ref": "main",
            "variables[MODEL_NAME]": model,
            "variables[MODEL_VERSION]": "1",
            "variables[PIPELINE_TYPE]": "staging-validation",
        }
        [delivery] = until(lambda: house.call("admin", "GET", "/deliveries?state=delivered")["deliveries"])
        assert delivery["event"] == "MODEL_VERSION_TRANSITIONED_TO_STAGING"


def test_a_promotion_tells_of_each_version_that_changes_its_stage(house: House) -> None:
    model = house.new_model(versions=2)
    with Receiver() as receiver:
        with acting(house.uri, house.tokens["admin"]):
            LockgateClient().create_registry_webhook(
                events=["MODEL_VERSION_TRANSITIONED_STAGE", "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION"],
                http_url_spec={"url": receiver.url, "secret": "shared"},
                model_name=model,
            )
        house.promote(model, "1", "stage:Production")
        house.promote(model, "2", "stage:Production")
        until(lambda: len(receiver.requests) == 5)
        told = [json.loads(request.body) for request in receiver.requests]
        assert [(one["event"], one["version"], one["from_stage"], one["to_stage"]) for one in told] == [
            ("MODEL_VERSION_TRANSITIONED_STAGE", "1", "None", "Production"),
            ("MODEL_VERSION_TRANSITIONED_TO_PRODUCTION", "1", "None", "Production"),
            ("MODEL_VERSION_TRANSITIONED_STAGE", "2", "None", "Production"),
            ("MODEL_VERSION_TRANSITIONED_TO_PRODUCTION", "2", "None", "Production"),
            ("MODEL_VERSION_TRANSITIONED_STAGE", "1", "Production", "Archived"),
        ]
        assert all(len(request.headers["x-databricks-signature"]) == 64 for request in receiver.requests)


def test_databricks_own_client_sets_webhooks_up(house: House) -> None:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.ml import HttpUrlSpec, RegistryWebhookEvent, RegistryWebhookStatus

    with Receiver() as receiver:
        registry = WorkspaceClient(host=house.uri, token=house.tokens["admin"]).model_registry
        made = registry.create_webhook(
            events=[RegistryWebhookEvent.REGISTERED_MODEL_CREATED],
            http_url_spec=HttpUrlSpec(url=receiver.url, secret="shared"),
            status=RegistryWebhookStatus.TEST_MODE,
        ).webhook
        assert made is not None
        tried = registry.test_registry_webhook(made.id)
        assert tried.status_code == 200
        assert json.loads(receiver.requests[0].body)["event"] == "REGISTERED_MODEL_CREATED"
        house.new_model()
        [listed] = registry.list_webhooks(events=[RegistryWebhookEvent.REGISTERED_MODEL_CREATED])
        assert listed.status is RegistryWebhookStatus.TEST_MODE
        registry.update_webhook(made.id, status=RegistryWebhookStatus.ACTIVE)
        model = house.new_model()
        until(lambda: len(receiver.requests) == 2)
        assert json.loads(receiver.requests[1].body)["model_name"] == model
        registry.delete_webhook(made.id)
        assert list(registry.list_webhooks()) == []
