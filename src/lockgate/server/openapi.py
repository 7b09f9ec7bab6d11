"""What the OpenAPI document of our API says beyond what FastAPI reads off the routes: how callers sign in."""

from typing import Any

from fastapi import FastAPI

from lockgate.server.cookies import Cookie

#: The edge asks for one of these before any route is reached, so no route can say it itself.
_WAYS_IN: dict[str, dict[str, str]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of `lockgate tokens create`."},
    "password": {"type": "http", "scheme": "basic", "description": "Name and password, or name and token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": Cookie.SESSION.value,
        "description": "A browser that signed in. Over https the name begins with `__Host-` or `__Secure-`.",
    },
}


def describe(api: FastAPI) -> None:
    """Make an application's document say how callers sign in."""
    read_off_the_routes = api.openapi

    def document() -> dict[str, Any]:
        told = read_off_the_routes()
        told.setdefault("components", {})["securitySchemes"] = _WAYS_IN
        told["security"] = [{name: []} for name in _WAYS_IN]
        return told

    # Not a route's business: FastAPI means this method to be replaced.
    api.openapi = document  # type: ignore[method-assign]
