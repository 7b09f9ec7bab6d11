"""A webhook as somebody wants it: what may be asked for, and what becomes of secrets as it is changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lockgate.access.roles import EVERY_MODEL
from lockgate.database.webhooks import EVERY_EVENT, Status, Webhook
from lockgate.delivery.addresses import Allowed, check_url
from lockgate.delivery.receivers import Secrets
from lockgate.delivery.relay import check_mail
from lockgate.delivery.spoken import dialect
from lockgate.errors import BadInput
from lockgate.events.dialect import Dialect, Endpoint
from lockgate.events.dialects.email import Email, addresses
from lockgate.events.dialects.standard import new_secret
from lockgate.events.settings import check_settings, places_among, secret_among
from lockgate.registry import mlflow_webhooks
from lockgate.workflow.shown import SHOWN, address, has_secret_url

_MAX_URL = 2000
#: What is changed of a webhook's secrets, beside its other fields.
SECRETS = frozenset({"settings", "signing"})


@dataclass(frozen=True)
class Wanted:
    """A webhook as somebody wants it.

    Attributes:
        dialect: How it is told.
        url: Where.
        events: Of what, by their names in the dialect; `EVERY_EVENT` for all.
        models: About which models: a pattern.
        description: What it is for.
        status: Whether it is told at once.
        verify_certificate: Whether its certificate must be one that the system trusts.
        secrets: What it is signed with, and what its dialect needs besides.
    """

    dialect: str
    url: str
    events: tuple[str, ...]
    models: str = EVERY_MODEL
    description: str = ""
    status: Status = Status.ACTIVE
    verify_certificate: bool = True
    secrets: Secrets = field(default_factory=Secrets)


def new_secrets(dialect: str, secret: str | None, settings: Mapping[str, str]) -> Secrets:
    """Return the secrets of a new webhook; where Standard Webhooks are signed and there is none, one is made."""
    if secret is None and dialect == "standard":
        secret = new_secret()
    return Secrets((secret,) if secret is not None else (), settings)


def wanted_of(webhook: Webhook, secrets: Secrets) -> Wanted:
    """Return a webhook that there is, with its secrets, as somebody has wanted it."""
    return Wanted(
        dialect=webhook.dialect,
        url=webhook.url,
        events=webhook.events,
        models=webhook.models,
        description=webhook.description,
        status=webhook.status,
        verify_certificate=webhook.verify_certificate,
        secrets=secrets,
    )


def _kept(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return settings as they are changed: who sends back the dots that they were shown keeps what was secret."""
    kept = {name: before.get(name) if value == SHOWN else value for name, value in after.items()}
    return {name: value for name, value in kept.items() if value is not None}


def without_shown_url(before: Wanted, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes without a URL that is given back as it was shown."""
    is_shown = changes.get("url") == address(before.dialect, before.url)
    return {name: value for name, value in changes.items() if name != "url" or not is_shown}


def check_stays_secret(before: Wanted, changes: Mapping[str, Any]) -> None:
    """Refuse to send what is secret to another place than the one that it was given for.

    Who changes it may be another than who gave the secrets, and could so have them sent to themselves.

    Raises:
        BadInput: naming what is to be given again.
    """
    settings, known = before.secrets.settings, dialect(before.dialect).SETTINGS
    given = changes.get("settings", dict.fromkeys(settings, SHOWN))
    is_elsewhere = changes.get("url", before.url) != before.url
    is_elsewhere |= places_among(known, _kept(settings, given)) != places_among(known, settings)
    is_laxer = before.verify_certificate and not changes.get("verify_certificate", True)
    if not (is_elsewhere or is_laxer):
        return
    secret = secret_among(known, settings.keys())
    kept = [name for name in secret if given.get(name) == SHOWN]
    if "url" not in changes and has_secret_url(before.dialect):
        kept.append("url")
    if kept:
        raise BadInput(
            "What is secret was given for where the webhook leads now, and its certificate. "
            f"Give {', '.join(sorted(kept))} again in the same call."
        )


def changed(before: Wanted, changes: Mapping[str, Any]) -> Wanted:
    """Return a webhook as it is wanted once it is changed.

    Args:
        before: As it was wanted before.
        changes: As `lockgate.workflow.webhooks.change` takes them.
    """
    secrets = before.secrets
    if "settings" in changes:
        secrets = replace(secrets, settings=_kept(secrets.settings, changes["settings"]))
    if "signing" in changes:
        secrets = replace(secrets, signing=changes["signing"])
    others = {name: value for name, value in changes.items() if name not in SECRETS}
    return replace(before, secrets=secrets, **others)


def check_wanted(wanted: Wanted) -> None:
    """Refuse a webhook that can't be told, or of nothing.

    Raises:
        BadInput: saying what is malformed, or what there is.
    """
    if len(wanted.url) > _MAX_URL:
        raise BadInput(f"A webhook's URL has at most {_MAX_URL} characters.")
    if wanted.dialect == mlflow_webhooks.DIALECT:
        raise BadInput("MLflow's own webhooks are made by MLflow's own calls: client.create_webhook(...).")
    spoken = dialect(wanted.dialect)
    _check_is_reachable(spoken, wanted.url)
    check_settings(wanted.dialect, spoken.SETTINGS, wanted.secrets.settings)
    if wanted.secrets.signing and not spoken.SIGNS:
        raise BadInput(f"The dialect {wanted.dialect} signs nothing, so there is no secret to sign with.")
    spoken.check(Endpoint("", wanted.url, wanted.secrets.signing, wanted.secrets.settings))
    unknown = [name for name in wanted.events if name != EVERY_EVENT and name not in spoken.EVENTS]
    if unknown or not wanted.events:
        what = f"There is no event '{unknown[0]}'" if unknown else "A webhook is for at least one event"
        raise BadInput(f"{what}. The dialect {wanted.dialect} has: {', '.join(spoken.EVENTS)}; or `*` for all.")


def _check_is_reachable(spoken: Dialect, url: str) -> None:
    if isinstance(spoken, Email):
        check_mail(addresses(url))
    else:
        check_url(url, Allowed.read())
