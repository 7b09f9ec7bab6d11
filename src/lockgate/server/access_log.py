"""The log of calls tells where somebody signed in, never with what."""

import logging

_SIGN_IN = "/lockgate/sign-in"


class _WithoutSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Cut the query off where a one-time token, or a provider's code and state, stands in it."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *rest = record.args
            if isinstance(path, str) and _SIGN_IN in path.partition("?")[0]:
                record.args = (client, method, path.partition("?")[0], *rest)
        return True


def keep_secrets_out() -> None:
    """Let uvicorn's log of calls in this process be without secrets."""
    logging.getLogger("uvicorn.access").addFilter(_WithoutSecrets())
