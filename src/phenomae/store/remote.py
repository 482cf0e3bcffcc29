"""Creates, resumes and replaces stores on S3, as `artefacts` does for folders.

S3 cannot rename a folder, so a store is written under its final name. The store is finished when
its `artefact.json` has an identity, which is written last.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from phenomae.progress import info
from phenomae.signatures import (
    SIGNATURE,
    Origin,
    already_there,
    parse_signature,
    require_same_work,
    signature_of,
)
from phenomae.urls import list_addresses, read_address, remove_addresses, write_address


@contextmanager
def remote_artefact(address: str, origin: Origin, overwrite: bool) -> Iterator[str | None]:
    """Yield the address to write to, or None if the same store is already finished there.

    Files of an interrupted call with the same settings and sources are kept. The caller signs the
    store inside the `with` block. Raises ValueError if the address holds files that phenomae did
    not write, or if it holds a store with other settings or sources and `overwrite` is false.
    """
    found = read_remote_signature(address)
    if found is None and list_addresses(address):
        raise ValueError(f"{address} exists and was not made by phenomae: choose another address")
    same = found is not None
    if found is not None:
        try:
            require_same_work(address, found, origin)
        except ValueError:
            if not overwrite:
                raise
            same = False
    if found is not None and found["identity"] is not None and same and not overwrite:
        info(already_there(address, found))
        yield None
        return
    # An unfinished store with the same settings and sources is continued, even with `overwrite`.
    if overwrite and found is not None and (found["identity"] is not None or not same):
        remove_addresses(address)
    sign_remote(address, origin, None, {})
    yield address


def sign_remote(
    address: str, origin: Origin, identity: str | None, files: Mapping[str, str]
) -> None:
    """Write `artefact.json`; an identity of None marks the store as unfinished."""
    write_address(f"{address}/{SIGNATURE}", signature_of(origin, identity, files))


def read_remote_signature(address: str, kind: str | None = None) -> dict[str, Any] | None:
    """Return the signature of a finished or unfinished artefact, or None if there is no file."""
    try:
        content = read_address(f"{address}/{SIGNATURE}")
    except FileNotFoundError:
        return None
    return parse_signature(content, address, kind)
