"""The artefact rules where nothing can be renamed: a store on S3 is whole once it is signed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from phenomae.artefacts import (
    SIGNATURE,
    Origin,
    parse_signature,
    require_same_work,
    signature_of,
)
from phenomae.progress import info
from phenomae.urls import list_addresses, read_address, remove_addresses, write_address


@contextmanager
def remote_artefact(address: str, origin: Origin, overwrite: bool) -> Iterator[str | None]:
    """Give the address to fill, or None where the same work is done; the block signs.

    What an earlier, stopped call left is there still. Raises ValueError where the address holds
    other work and `overwrite` is false, or something else altogether.
    """
    found = read_remote_signature(address)
    if found is None and list_addresses(address):
        raise ValueError(f"{address} is in the way and was not made by phenomae: choose another")
    same = found is not None
    if found is not None:
        try:
            require_same_work(address, found, origin)
        except ValueError:
            if not overwrite:
                raise
            same = False
    if found is not None and found["identity"] is not None and same and not overwrite:
        info(f"{address} is already there, made with the same settings (--overwrite makes it anew)")
        yield None
        return
    if overwrite and found is not None and (found["identity"] is not None or not same):
        remove_addresses(address)
    sign_remote(address, origin, None)
    yield address


def sign_remote(address: str, origin: Origin, identity: str | None) -> None:
    """Write `artefact.json`; an identity of None says that the work has only begun."""
    write_address(f"{address}/{SIGNATURE}", signature_of(origin, identity))


def read_remote_signature(address: str, kind: str | None = None) -> dict[str, Any] | None:
    """Return what made the artefact, None where there is none; an unfinished one counts."""
    try:
        content = read_address(f"{address}/{SIGNATURE}")
    except FileNotFoundError:
        return None
    return parse_signature(content, address, kind)
