"""Step 2, facts are gathered: the record about one version that a decision is about, and its digest.

In: what MLflow knows of a version and its run, and what Lockgate saw of its makers. Out: `Evidence`. No I/O.
"""
