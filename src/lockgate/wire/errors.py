"""Errors."""

from typing import Any

from pydantic import BaseModel


class ErrorView(BaseModel):
    """An error, in the shape of MLflow's API."""

    error_code: str
    message: str
    details: dict[str, Any] = {}
