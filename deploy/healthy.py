"""Say by the exit code whether the server in this container answers, for the image's HEALTHCHECK."""

import os
import ssl
import sys
import urllib.request

_TIMEOUT_SECONDS = 4


def address() -> str:
    """Return where the server says that it is up, as its variables place it.

    `/health` is MLflow's: it answers whatever `--allowed-hosts` says.
    """
    scheme = "https" if os.environ.get("LOCKGATE_SSL_CERTFILE") else "http"
    port = os.environ.get("MLFLOW_PORT", "5000")
    return f"{scheme}://127.0.0.1:{port}{os.environ.get('MLFLOW_STATIC_PREFIX', '')}/health"


def main() -> None:
    """Ask, and end with 1 if there is no good answer."""
    # The certificate is for the name that others use; here nobody stands in between.
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(address(), timeout=_TIMEOUT_SECONDS, context=unchecked).close()  # noqa: S310
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
