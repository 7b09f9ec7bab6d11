"""The ASGI application: the edge, our API, MLflow mounted inside, errors to HTTP in one file.

In: HTTP. Out: HTTP.
"""

import warnings

# MLflow's own affair, and nothing that whoever starts a server could do anything about.
warnings.filterwarnings("ignore", message="starlette.middleware.wsgi is deprecated")
