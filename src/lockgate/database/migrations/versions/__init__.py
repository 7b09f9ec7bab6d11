"""One module a change of schema."""
