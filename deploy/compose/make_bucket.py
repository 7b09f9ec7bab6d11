"""Make a bucket in the store that MLFLOW_S3_ENDPOINT_URL names, if it is not there."""

import os
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_PATIENCE_SECONDS = 60


def make_bucket(name: str) -> None:
    """Make a bucket, if it is not there; waits for a store that is about to start.

    Args:
        name: The bucket.

    Raises:
        SystemExit: if the store doesn't answer, or says no.
    """
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    store = boto3.client("s3", endpoint_url=endpoint)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if name not in {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}:
                store.create_bucket(Bucket=name)
            return
        except (BotoCoreError, ClientError) as error:
            # A store that starts answers 5xx or not at all; one that refuses the keys would refuse them for ever.
            if time.monotonic() > deadline or _is_refusal(error):
                sys.exit(f"The bucket {name} could not be made at {endpoint}: {error}")
            time.sleep(1)


def _is_refusal(error: BotoCoreError | ClientError) -> bool:
    if not isinstance(error, ClientError):
        return False
    return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 500)) in (400, 401, 403)


if __name__ == "__main__":
    make_bucket(sys.argv[1])
