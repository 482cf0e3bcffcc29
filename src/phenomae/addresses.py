"""Files that lie on another machine: s3://, http:// and https://, through tensorstore."""

import os
from functools import lru_cache
from typing import Any

_SCHEMES = ("s3://", "http://", "https://")


def is_address(text: str) -> bool:
    """Say whether a text is the address of something on another machine, not a path."""
    return text.startswith(_SCHEMES)


def kvstore_spec(address: str) -> dict[str, Any] | str:
    """Return what tensorstore opens for an address.

    Of Amazon's own settings `AWS_ENDPOINT_URL` (another server that speaks S3) and
    `AWS_NO_SIGN_REQUEST` (public buckets, without credentials) are honoured, beside those for
    credentials and region.
    """
    if not address.startswith("s3://"):
        return address
    bucket, _, path = address.removeprefix("s3://").partition("/")
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": path}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        spec["endpoint"] = endpoint
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        spec["aws_region"] = region
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"):
        spec["aws_credentials"] = {"type": "anonymous"}
    return spec


def read_address(address: str) -> bytes:
    """Return the bytes at an address.

    Raises FileNotFoundError where there is nothing, and OSError, with the server's reason, where
    they cannot be had.
    """
    folder, _, name = address.rpartition("/")
    try:
        found = _open(folder + "/").read(name).result()
    except ValueError as error:
        raise OSError(f"{address} cannot be read: {first_reason(error)}") from None
    if found.state != "value":
        raise FileNotFoundError(address)
    return found.value


def first_reason(error: Exception) -> str:
    """Return what tensorstore complains of, without its notes on where in its source."""
    return str(error).split(" [", 1)[0].splitlines()[0]


@lru_cache(maxsize=64)
def _open(folder: str) -> Any:
    import tensorstore as ts  # takes a tenth of a second, which `phenomae --help` has not

    return ts.KvStore.open(kvstore_spec(folder)).result()
