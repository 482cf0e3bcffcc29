"""Files on other machines: s3://, http:// and https:// addresses, read and written by tensorstore.

tensorstore brings its own HTTP and S3 clients, so that no cloud SDK is needed. The rest of the code
handles a `Path | str`: a `Path` is on this machine, a `str` is an address.
"""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from cyclopts import Parameter, Token

_SCHEMES = ("s3://", "http://", "https://")
_RETRIES = {"max_retries": 6}  # about a minute in all, because each wait is twice the one before


def is_address(text: str) -> bool:
    """Return whether a text is the address of something on another machine, not a path."""
    return text.startswith(_SCHEMES)


def locate(location: str | os.PathLike[str]) -> Path | str:
    """Return an address as text without a final slash, and anything else as a `Path`."""
    text = os.fspath(location)
    return text.rstrip("/") if is_address(text) else Path(text)


def _convert(type_: Any, tokens: Sequence[Token]) -> Path | str:
    return locate(tokens[0].value)


Location = Annotated[str | os.PathLike[str], Parameter(converter=_convert, metavar="PATH")]
"""A path or an s3:// address; public functions pass it to `locate` first thing."""


def below(location: Path | str, name: str) -> Path | str:
    """Return the location of `name` inside the folder `location`."""
    return location / name if isinstance(location, Path) else f"{location}/{name}"


def kvstore_spec(address: str) -> dict[str, Any]:
    """Return the tensorstore key-value store specification of an address.

    Credentials and region come from the usual AWS environment variables. `AWS_ENDPOINT_URL`
    (another server that speaks S3) and `AWS_NO_SIGN_REQUEST` (public buckets, no credentials) are
    honoured too.
    """
    if not address.startswith("s3://"):
        scheme, _, rest = address.partition("://")
        host, _, path = rest.partition("/")
        base, path = f"{scheme}://{host}", "/" + unquote(path)
        return {"driver": "http", "base_url": base, "path": path, "http_request_retries": _RETRIES}
    bucket, _, path = address.removeprefix("s3://").partition("/")
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": path}
    spec["s3_request_retries"] = _RETRIES
    # tensorstore does not read these two variables itself, although the AWS SDKs do.
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        spec["endpoint"] = endpoint
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        spec["aws_region"] = region
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"):
        spec["aws_credentials"] = {"type": "anonymous"}
    elif "AWS_ACCESS_KEY_ID" in os.environ:
        # The default provider would find these too, but logs a line for every other place it tries.
        spec["aws_credentials"] = {"type": "environment"}
    return spec


class DeniedError(OSError):
    """A server denied access: to what may be there, or, on some servers, to what is not."""


def read_address(address: str, first: int | None = None) -> bytes:
    """Return the bytes at an address, or only the `first` ones; there must be as many.

    Raises FileNotFoundError if nothing is there, DeniedError if the server denies access, and
    OSError with the server's reason if the request fails otherwise.
    """
    folder, _, name = address.rpartition("/")
    # S3 keys are used literally; a path in a URL may be percent-encoded.
    key = name if address.startswith("s3://") else unquote(name)
    part = None if first is None else slice(0, first)
    found = _request(address, "read", lambda: _open(folder + "/").read(key, byte_range=part))
    if found.state != "value":
        raise FileNotFoundError(address)
    return found.value


def write_address(address: str, content: bytes) -> None:
    """Write bytes to an address; the server stores all of them or none. Raises OSError."""
    folder, _, name = address.rpartition("/")
    _request(address, "written", lambda: _open(folder + "/").write(name, content))


def list_addresses(folder: str) -> list[str]:
    """Return the sorted names of everything below an address. Raises OSError."""
    names = _request(folder, "listed", lambda: _open(folder + "/").list())
    return sorted(name.decode() for name in names)


def remove_addresses(folder: str) -> None:
    """Remove everything below an address. Raises OSError."""
    import tensorstore as ts

    _request(folder, "removed", lambda: _open(folder + "/").delete_range(ts.KvStore.KeyRange()))


def remove_address(address: str) -> None:
    """Remove what is at an address, if anything is. Raises OSError."""
    folder, _, name = address.rpartition("/")
    _request(address, "removed", lambda: _open(folder + "/").write(name, None))


def first_reason(error: Exception) -> str:
    """Return the message of a tensorstore error without the locations in its source code."""
    return str(error).split(" [", 1)[0].splitlines()[0]


def _request(address: str, done: str, request: Callable[[], Any]) -> Any:
    """Return the result of a request; raises OSError "ADDRESS cannot be DONE: reason"."""
    try:
        return request().result()
    except (ValueError, NotImplementedError) as error:  # NotImplementedError: a write over HTTP
        reason = first_reason(error)
        if reason.startswith("PERMISSION_DENIED"):
            reason = f"the server denies access ({reason}); set AWS_NO_SIGN_REQUEST=1 for public "
            reason += "buckets; others need credentials"
            raise DeniedError(f"{address} cannot be {done}: {reason}") from None
        raise OSError(f"{address} cannot be {done}: {reason}") from None


@lru_cache(maxsize=64)
def _open(folder: str) -> Any:
    import tensorstore as ts  # not at the top: its import takes 0.1 s, which `--help` does not need

    return ts.KvStore.open(kvstore_spec(folder)).result()
