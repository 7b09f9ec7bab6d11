"""Our SQL: the tables on one page, their migrations, the engine, and rows turned into values.

In: values. Out: values. The functions take the session of a transaction that the caller began; none commits.
"""
