"""The whole application: our routes in front, MLflow behind them, the edge around both."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from fastapi import FastAPI
from mlflow.server import app as flask_app
from mlflow.server.fastapi_security import init_fastapi_security
from starlette.types import ASGIApp

from lockgate.delivery.addresses import Allowed
from lockgate.delivery.deliverer import Deliverer
from lockgate.delivery.relay import Relay
from lockgate.delivery.retention import read_retention
from lockgate.delivery.schedule import read_schedule
from lockgate.delivery.sender import Sender
from lockgate.delivery.spoken import dialect
from lockgate.delivery.steps import Settings
from lockgate.identity_file import identity_file
from lockgate.registry.catalog import Catalog
from lockgate.server import databricks, failures, health, registry_webhooks
from lockgate.server.access_log import keep_secrets_out
from lockgate.server.api import api
from lockgate.server.authentication import Authentication
from lockgate.server.cookies import GivenCookies
from lockgate.server.drawing import Drawing
from lockgate.server.edge import Edge
from lockgate.server.headers import BrowserHeaders
from lockgate.server.limits import Limits
from lockgate.server.mlflow_app import governed_mlflow
from lockgate.server.mlflow_webhooks import take_over
from lockgate.server.native_reads import NativeReads, answers_reads, routes_of
from lockgate.server.openings import openings
from lockgate.server.pages import pages
from lockgate.server.proxies import Origins
from lockgate.settings import WorkerSettings
from lockgate.workflow.checkpoints import Checkpointer, Schedule
from lockgate.workflow.hasher import Hasher
from lockgate.workflow.stores import Stores, stores


def create_app() -> ASGIApp:
    """Return the application that a worker process serves; uvicorn calls this once in each."""
    settings = WorkerSettings.read()
    identity = identity_file(settings.identity_file)
    keep_secrets_out()
    house = stores()
    Checkpointer(house.registry.engine, Schedule.read()).start()
    app = FastAPI(
        title="Lockgate",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=partial(_working, Hasher(house.registry.engine), _deliverer(house, settings)),
    )
    if answers_reads(house.registry):
        catalog = Catalog(house.registry.engine, house.registry.workspace)
        app.add_middleware(NativeReads, catalog=catalog, routes=routes_of(flask_app))
    init_fastapi_security(app)
    failures.install(app, Drawing(settings).told)
    app.include_router(health.router)
    if settings.static_prefix:
        app.include_router(health.router, prefix=settings.static_prefix)
    app.mount(f"{settings.static_prefix}/api/lockgate/v1", api)
    for root in databricks.ROOTS:
        for router in (databricks.router, registry_webhooks.router):
            app.include_router(router, prefix=f"{settings.static_prefix}{root}")
    authentication = Authentication(house.registry.engine, identity, settings)
    ours = pages(settings, house.registry.engine, identity, authentication)
    app.include_router(ours, prefix=f"{settings.static_prefix}/lockgate")
    take_over(house)
    mlflow_app = governed_mlflow()
    app.mount("/", mlflow_app)
    open_to_all = openings(mlflow_app, flask_app, settings.static_prefix)
    # What is loaded now stays: looking through all of it for garbage takes a tenth of the time of a promotion.
    gc.collect()
    gc.freeze()
    limited = Limits(app, settings, open_to_all)
    edge = GivenCookies(Edge(limited, house.registry.engine, settings, authentication, open_to_all))
    return Origins(BrowserHeaders(edge, settings), identity.trusted_proxies, settings.behind_proxy)


@asynccontextmanager
async def _working(hasher: Hasher, deliverer: Deliverer, _app: FastAPI) -> AsyncIterator[None]:
    """Hash files and deliver events as long as the worker serves; what it has in hand at the end is left to others."""
    hasher.start()
    deliverer.start()
    yield
    await anyio.to_thread.run_sync(deliverer.stop)
    await anyio.to_thread.run_sync(hasher.stop)


def _deliverer(house: Stores, settings: WorkerSettings) -> Deliverer:
    allowed, relay = Allowed.read(), Relay.read()
    how = Settings(
        dialects=dialect,
        base_url=settings.public_url,
        schedule=read_schedule(),
        remembered=read_retention(),
    )
    return Deliverer(house.registry.engine, lambda: Sender(allowed, relay=relay), how)
