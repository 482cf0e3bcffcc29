"""Where images lie now that a table tells of in the words of the machine that wrote it."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from phenomae.urls import is_address

# Two letters at least: C:\ is a disk.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class Whereabouts:
    """Finds the images of one table."""

    def __init__(self, beside: Path, images: Path | None) -> None:
        """`beside` is the table's folder, `images` where the files lie if they were moved."""
        self._beside = beside
        self._images = images
        self._folders: dict[str, tuple[str, bool]] = {}

    def find(self, folder: str, name: str | None, url: str | None) -> str:
        """Return the path or address of an image, from its folder and name, its URL, or both.

        A local folder that is there goes before the URL; one that is not counts where there is no
        URL. Raises ValueError where the address is of a kind that cannot be read.
        """
        if name is not None and _SCHEME.match(folder) is None:
            path, is_there = self._find_local(folder, name)
            if is_there or url is None:
                return path
        elif name is not None:
            url = f"{folder.rstrip('/')}/{name}"
        assert url is not None
        scheme = match[1].lower() if (match := _SCHEME.match(url)) else "file"
        if scheme in ("s3a", "s3n"):  # as Hadoop calls it
            scheme, url = "s3", "s3" + url[3:]
        if scheme == "file":
            return self._find_local(*os.path.split(_decode(url) if match else url))[0]
        if not is_address(url):
            raise ValueError(f"{url} cannot be read: expected a path, s3://, https:// or file:/")
        if self._images is not None:
            path, is_there = self._find_local(*os.path.split(url.partition("://")[2]))
            if is_there:
                return path
        return url

    def _find_local(self, folder: str, name: str) -> tuple[str, bool]:
        """Return where a file should lie, and whether its folder is there."""
        if folder not in self._folders:
            self._folders[folder] = self._find_folder(folder)
        here, is_there = self._folders[folder]
        path = os.path.join(here, name)
        return path, is_there or (self._images is not None and os.path.isfile(path))

    def _find_folder(self, folder: str) -> tuple[str, bool]:
        """Return the folder that is meant, or the longest tail of it that lies in `images`."""
        if self._images is None:
            path = self._beside / folder
            return str(path), os.path.isdir(path)
        parts = [part for part in folder.replace("\\", "/").split("/") if part not in ("", ".")]
        tails = (self._images.joinpath(*parts[start:]) for start in range(len(parts)))
        found = next((tail for tail in tails if os.path.isdir(tail)), None)
        return str(found or self._images), found is not None


def _decode(url: str) -> str:
    """Return the path that a file URL stands for: file:///a, file:/a, file://localhost/a, file:a.

    Raises ValueError where it is of another machine.
    """
    path = url.partition(":")[2]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise ValueError(f"{url} lies on the machine {host!r}: expected file:/// and a path")
        path = slash + rest
    return unquote(path)
