"""Reading the identity file: in the command, in the process that starts the server and in each worker."""

import os
from collections.abc import Mapping
from pathlib import Path

from lockgate.access.identity import NO_IDENTITY_FILE, IdentityFile, Platform, Provider, Trust, TrustedProxies
from lockgate.document import read_document
from lockgate.errors import BadInput

#: The kinds of parts that it is made of.
PARTS = (IdentityFile, Provider, Platform, Trust, TrustedProxies)


def identity_file(path: str | None, environment: Mapping[str, str] = os.environ) -> IdentityFile:
    """Return what the file says; what holds without one, if there is none.

    Raises:
        BadInput: naming each line that is wrong, or the environment variable that is missing.
    """
    if not path:
        return NO_IDENTITY_FILE
    read = read_document(Path(path).read_text(encoding="utf-8"), IdentityFile, "identity file", PARTS)
    for provider in read.providers:
        if provider.client_secret_env is not None and not environment.get(provider.client_secret_env):
            raise BadInput(
                f"The identity file says that the secret of {provider.name} is in {provider.client_secret_env}, and "
                "that variable is not set."
            )
    return read
