"""Files that lie on another machine: s3://, http:// and https://, through tensorstore."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from cyclopts import Parameter, Token

_SCHEMES = ("s3://", "http://", "https://")
_RETRIES = {"max_retries": 6}  # a minute, as each waits twice as long as the one before


def is_address(text: str) -> bool:
    """Say whether a text is the address of something on another machine, not a path."""
    return text.startswith(_SCHEMES)


def locate(text: str) -> Path | str:
    """Return an address as it stands, and any other text as a path."""
    return text.rstrip("/") if is_address(text) else Path(text)


def _convert(type_: Any, tokens: Sequence[Token]) -> Path | str:
    return locate(tokens[0].value)


Location = Annotated[Path | str, Parameter(converter=_convert)]
"""Where a store lies: a path, or an s3:// address."""


def below(location: Path | str, name: str) -> Path | str:
    """Return the place of a name below a location."""
    return location / name if isinstance(location, Path) else f"{location}/{name}"


def kvstore_spec(address: str) -> dict[str, Any]:
    """Return what tensorstore opens for an address.

    Of Amazon's own settings `AWS_ENDPOINT_URL` (another server that speaks S3) and
    `AWS_NO_SIGN_REQUEST` (public buckets, without credentials) are honoured, beside those for
    credentials and region.
    """
    if not address.startswith("s3://"):
        scheme, _, rest = address.partition("://")
        host, _, path = rest.partition("/")
        base, path = f"{scheme}://{host}", "/" + unquote(path)
        return {"driver": "http", "base_url": base, "path": path, "http_request_retries": _RETRIES}
    bucket, _, path = address.removeprefix("s3://").partition("/")
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": path}
    spec["s3_request_retries"] = _RETRIES
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        spec["endpoint"] = endpoint
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        spec["aws_region"] = region
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"):
        spec["aws_credentials"] = {"type": "anonymous"}
    elif "AWS_ACCESS_KEY_ID" in os.environ:  # asked by itself, or a log line tells of other places
        spec["aws_credentials"] = {"type": "environment"}
    return spec


def read_address(address: str) -> bytes:
    """Return the bytes at an address.

    Raises FileNotFoundError where there is nothing, and OSError, with the server's reason, where
    they cannot be had.
    """
    folder, _, name = address.rpartition("/")
    key = name if address.startswith("s3://") else unquote(name)
    found = _ask(address, "read", lambda: _open(folder + "/").read(key))
    if found.state != "value":
        raise FileNotFoundError(address)
    return found.value


def write_address(address: str, content: bytes) -> None:
    """Write bytes to an address, which a server takes whole or not at all; raises OSError."""
    folder, _, name = address.rpartition("/")
    _ask(address, "written", lambda: _open(folder + "/").write(name, content))


def list_addresses(folder: str) -> list[str]:
    """Return the names of everything below an address, sorted; raises OSError."""
    names = _ask(folder, "listed", lambda: _open(folder + "/").list())
    return sorted(name.decode() for name in names)


def remove_addresses(folder: str) -> None:
    """Remove everything below an address; raises OSError."""
    import tensorstore as ts

    _ask(folder, "removed", lambda: _open(folder + "/").delete_range(ts.KvStore.KeyRange()))


def first_reason(error: Exception) -> str:
    """Return what tensorstore complains of, without its notes on where in its source."""
    return str(error).split(" [", 1)[0].splitlines()[0]


def _ask(address: str, done: str, request: Callable[[], Any]) -> Any:
    """Return what a server answers; raises OSError, saying what could not be done."""
    try:
        return request().result()
    except (ValueError, NotImplementedError) as error:  # nothing is written to a web server
        reason = first_reason(error)
        if reason.startswith("PERMISSION_DENIED"):
            reason = f"the server does not let you ({reason}); AWS_NO_SIGN_REQUEST=1 is for public "
            reason += "buckets, others need credentials"
        raise OSError(f"{address} cannot be {done}: {reason}") from None


@lru_cache(maxsize=64)
def _open(folder: str) -> Any:
    import tensorstore as ts  # takes a tenth of a second, which `phenomae --help` has not

    return ts.KvStore.open(kvstore_spec(folder)).result()
