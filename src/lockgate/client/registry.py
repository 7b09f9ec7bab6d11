"""MLflow's client, with the calls on webhooks that Databricks' registry has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mlflow import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response

_CALLS = "/api/2.0/mlflow/registry-webhooks"


@dataclass(frozen=True)
class RegistryWebhook:
    """Who is told of events in the registry. Its secrets are never shown.

    Attributes:
        id: Its id.
        events: Which events, by Databricks' names: `MODEL_VERSION_TRANSITIONED_TO_STAGING`.
        status: `ACTIVE`, `DISABLED` or `TEST_MODE`.
        description: What it is for.
        model_name: The model that it is about; None for all.
        http_url_spec: Where they are sent.
        creation_timestamp: When it was made, in milliseconds since 1970.
        last_updated_timestamp: When it was changed last, in milliseconds since 1970.
    """

    id: str
    events: tuple[str, ...]
    status: str
    description: str = ""
    model_name: str | None = None
    http_url_spec: Mapping[str, Any] = field(default_factory=dict)
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0


class LockgateClient(MlflowClient):  # type: ignore[misc]
    """An `MlflowClient` that can also set up who is told of changes in the registry.

    Made like an `MlflowClient`: from `MLFLOW_TRACKING_URI` and `MLFLOW_TRACKING_TOKEN`, or with a tracking URI.
    """

    def create_registry_webhook(
        self,
        events: Sequence[str],
        http_url_spec: Mapping[str, Any],
        model_name: str | None = None,
        description: str = "",
        status: str = "ACTIVE",
    ) -> RegistryWebhook:
        """Have events sent to a URL from now on.

        Args:
            events: Which, by Databricks' names: `MODEL_VERSION_TRANSITIONED_TO_STAGING`.
            http_url_spec: `url`; `enable_ssl_verification`, if not True; `authorization`, sent as that header;
                `secret`, by which `X-Databricks-Signature` is made.
            model_name: The model that it is about; None for all, for who maintains all.
            description: What it is for.
            status: `ACTIVE`; `DISABLED`; or `TEST_MODE`, in which only `test_registry_webhook` sends anything.

        Raises:
            MlflowException: in a sentence, if the server refuses.
        """
        body = {
            "events": list(events),
            "http_url_spec": dict(http_url_spec),
            "description": description,
            "status": status,
            **({"model_name": model_name} if model_name is not None else {}),
        }
        return _webhook(self._call("POST", "create", json=body)["webhook"])

    def list_registry_webhooks(
        self, model_name: str | None = None, events: Sequence[str] | None = None
    ) -> list[RegistryWebhook]:
        """Return the webhooks that one maintains, oldest first.

        Args:
            model_name: Only those that were made for this model, if there is one.
            events: Only those that are for one of these, if there are any.

        Raises:
            MlflowException: in a sentence, if the server refuses. So do the calls below.
        """
        found: list[RegistryWebhook] = []
        token: str | None = None
        while True:
            asked = {"model_name": model_name, "events": list(events or []) or None, "page_token": token}
            page = self._call("GET", "list", params={name: value for name, value in asked.items() if value is not None})
            found += [_webhook(one) for one in page["webhooks"]]
            token = page.get("next_page_token")
            if token is None:
                return found

    def update_registry_webhook(self, id: str, **changes: Any) -> RegistryWebhook:
        """Change a webhook.

        Args:
            id: Its id.
            **changes: `events`, `description`, `status` or `http_url_spec`, as `create_registry_webhook` takes them.
                What is left out stays; but of an `http_url_spec` nothing does, a secret neither.
        """
        return _webhook(self._call("PATCH", "update", json={"id": id, **changes})["webhook"])

    def delete_registry_webhook(self, id: str) -> None:
        """Remove a webhook."""
        self._call("DELETE", "delete", params={"id": id})

    def test_registry_webhook(self, id: str, event: str | None = None) -> dict[str, Any]:
        """Send an example of an event at once; return the `status_code` that came, and what that means as `body`."""
        answer: dict[str, Any] = self._call("POST", "test", json={"id": id, **({"event": event} if event else {})})
        return answer

    def _call(self, method: str, what: str, **sent: Any) -> Any:
        endpoint = f"{_CALLS}/{what}"
        credentials = get_default_host_creds(self.tracking_uri)
        return verify_rest_response(http_request(credentials, endpoint, method, **sent), endpoint).json()


def _webhook(told: Mapping[str, Any]) -> RegistryWebhook:
    known = {one.name: told[one.name] for one in fields(RegistryWebhook) if one.name in told}
    return RegistryWebhook(**{**known, "events": tuple(told["events"])})
