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
    return frozenset((*(route for route, _ in paths_of(fastapi_app, flask_app)), *_fields()))


def paths_of(fastapi_app: FastAPI, flask_app: Flask) -> Iterator[tuple[Route, str]]:
    """Yield every route of MLflow's application that has a path of its own, with that path."""
    yield from _native(fastapi_app.router.routes, "")
    yield from _flask(flask_app)


def name_of(endpoint: Callable[..., Any]) -> str:
    """Return the name that a native endpoint has in the inventory: its module's and its own."""
    return f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}"


def graphql_fields() -> Iterator[tuple[Route, Any]]:
    """Yield the root fields of MLflow's GraphQL schema."""
    types = schema.graphql_schema
    for kind, root in (("QUERY", types.query_type), ("MUTATION", types.mutation_type)):
        for name, field in (root.fields if root else {}).items():
            yield Route(kind, f"graphql.{name}"), field


def _native(routes: list[BaseRoute], prefix: str) -> Iterator[tuple[Route, str]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            under: str = getattr(getattr(route, "include_context", None), "prefix", "")
            yield from _native(included.routes, prefix + under)
        elif not isinstance(route, Mount):
            endpoint, path = getattr(route, "endpoint", route), prefix + getattr(route, "path", "")
            for method in getattr(route, "methods", None) or ("ANY",):
                yield Route(method, name_of(endpoint) if callable(endpoint) else type(route).__name__), path


def _flask(app: Flask) -> Iterator[tuple[Route, str]]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - AUTOMATIC:
            yield Route(method, rule.endpoint), rule.rule


def _fields() -> Iterator[Route]:
    return (route for route, _ in graphql_fields())
