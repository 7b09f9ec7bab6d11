"""The JSON shapes that the server answers with and callers read. Times are RFC 3339 in UTC, versions are strings
as in MLflow's API.
"""
