"""MLflow's own webhooks, whose API stays MLflow's: what it would send from a thread pool comes from the outbox."""

from collections.abc import Sequence
from typing import Any

from mlflow.entities.webhook import Webhook, WebhookEvent, WebhookTestResult
from mlflow.environment_variables import MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY
from mlflow.server import handlers
from mlflow.store.model_registry import sqlalchemy_store

from lockgate.access.principals import current_caller
from lockgate.delivery.addresses import Allowed, check_url
from lockgate.delivery.spoken import dialect
from lockgate.errors import BadInput, Conflict, NotFound
from lockgate.registry import mlflow_webhooks
from lockgate.registry.mlflow_tables import webhooks as table
from lockgate.registry.transaction import reading, told_by_mlflow
from lockgate.workflow.stores import Stores, stores
from lockgate.workflow.webhook_example import send_to


def take_over(house: Stores) -> None:
    """Have MLflow's handlers leave it to us to send, to say where may be sent to, and to keep secrets.

    What MLflow tells that is none of the registry's events, such as a budget that is spent, it sends by itself.
    """
    sends = handlers.deliver_webhook
    told = frozenset(dialect(mlflow_webhooks.DIALECT).EVENTS)

    def leave_to_the_outbox(*, event: WebhookEvent, **what: Any) -> None:
        if _name(event) not in told:
            sends(event=event, **what)

    handlers.deliver_webhook = leave_to_the_outbox
    handlers.test_webhook = _test
    sqlalchemy_store._validate_webhook_url = _check_url
    _keep_secrets(house)


def _check_url(url: str) -> None:
    with told_by_mlflow():
        check_url(url, Allowed.read())


def _test(webhook: Webhook, event: WebhookEvent | None = None) -> WebhookTestResult:
    house = stores()
    with told_by_mlflow():
        with reading(house.registry.engine) as session:
            found = mlflow_webhooks.load(session, webhook.webhook_id)
        if found is None:
            raise NotFound(f"Webhook with ID {webhook.webhook_id} not found.")
        wanted = _to_try(found.events if event is None else (_name(event),))
        answer = send_to(house, found, wanted, current_caller().base_url)
    return WebhookTestResult(answer.is_success, answer.status, None, answer.error or None)


def _to_try(events: Sequence[str]) -> str:
    """Return the first of some events that we tell."""
    told = dialect(mlflow_webhooks.DIALECT).EVENTS
    found = next((name for name in events if name in told), None)
    if found is None:
        raise BadInput(
            f"MLflow sends {', '.join(events)} by itself when it happens, and Lockgate has no example of it to send. "
            "Try the webhook out with an event of a model or a prompt: `event`."
        )
    return found


def _name(event: WebhookEvent) -> str:
    return f"{event.entity.value}.{event.action.value}"


def _keep_secrets(house: Stores) -> None:
    """Encrypt with LOCKGATE_SECRET_KEY what MLflow would encrypt with a key that it makes anew at each start."""
    if MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY.get():
        return
    try:
        encrypted: Any = table.c.secret.type
        encrypted.cipher = mlflow_webhooks.at_rest(house.registry.engine).cipher
    except Conflict:
        # There is no secret key. What MLflow has made by itself will do until the next start.
        return
