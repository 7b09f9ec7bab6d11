"""Step 4, people judge: whose review counts, and whether enough of them approved.

In: reviews, the standing of those who gave them, who is excluded. Out: what is still missing. No I/O.
"""
