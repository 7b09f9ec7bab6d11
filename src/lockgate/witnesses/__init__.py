"""Witnesses: places outside the database that keep checkpoints. Whoever changes the log would have to change those too.

In: a signed checkpoint, as a line of text. Out: the one that a place was given last. Knows no database.
"""
