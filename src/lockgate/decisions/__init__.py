"""Step 5, the verdict: may the target move, and if not, what is missing.

In: rules, gate results, reviews, the clock. Out: a `Verdict`. No I/O.
"""
