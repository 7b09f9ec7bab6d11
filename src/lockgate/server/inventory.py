"""What routes the installed MLflow has: asked of its own routers, so that nothing it grows goes unnoticed."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from flask import Flask
from mlflow.server.graphql.graphql_schema_extensions import schema
from starlette.routing import BaseRoute, Mount

from lockgate.access.routes import Route

#: Answered by the routers themselves, from the routes that they have; no handler of MLflow's runs.
AUTOMATIC = frozenset({"HEAD", "OPTIONS"})


def routes_of(fastapi_app: FastAPI, flask_app: Flask) -> frozenset[Route]:
    """Return every route of MLflow's application, and every root field of its GraphQL schema."""
    return frozenset((*_native(fastapi_app.router.routes), *_flask(flask_app), *_fields()))


def name_of(endpoint: Callable[..., Any]) -> str:
    """Return the name that a native endpoint has in the inventory: its module's and its own."""
    return f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}"


def graphql_fields() -> Iterator[tuple[Route, Any]]:
    """Yield the root fields of MLflow's GraphQL schema."""
    types = schema.graphql_schema
    for kind, root in (("QUERY", types.query_type), ("MUTATION", types.mutation_type)):
        for name, field in (root.fields if root else {}).items():
            yield Route(kind, f"graphql.{name}"), field


def _native(routes: list[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _native(included.routes)
        elif not isinstance(route, Mount):
            endpoint = getattr(route, "endpoint", route)
            for method in getattr(route, "methods", None) or ("ANY",):
                yield Route(method, name_of(endpoint) if callable(endpoint) else type(route).__name__)


def _flask(app: Flask) -> Iterator[Route]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - AUTOMATIC:
            yield Route(method, rule.endpoint)


def _fields() -> Iterator[Route]:
    return (route for route, _ in graphql_fields())
