"""Lockgate: `mlflow server` with a gate in it."""

__version__ = "0.1.0"
