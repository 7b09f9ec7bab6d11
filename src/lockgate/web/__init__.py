"""The pages that people open: templates and static files.

In: what the API shows. Out: HTML that escapes everything.
"""
