"""The ASGI application: the edge, our API, MLflow mounted inside, errors to HTTP in one file.

In: HTTP. Out: HTTP.
"""
