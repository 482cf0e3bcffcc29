"""Finds images whose paths in a table were written on another machine.

LoadData CSVs name files by folder and name, by URL, or both, and are used long after the files have
moved.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from phenomae.urls import is_address

# At least two letters, because C:\ is a drive and not a scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class ImageLocator:
    """Finds the images of one table."""

    def __init__(self, beside: Path, images: Path | None) -> None:
        """`beside` is the folder of the table, `images` the folder of the files if they moved."""
        self._beside = beside
        self._images = images
        # A table has up to 10^5 rows but few folders, and each look-up asks a file system.
        self._folders: dict[str, tuple[str, bool]] = {}

    def find(self, folder: str, name: str | None, url: str | None) -> str:
        """Return the path or address of an image, given its folder and name, its URL, or both.

        A local folder that exists wins over the URL; one that does not exist is used only without
        a URL. The name may have folders of its own in front, or be an address. Raises ValueError if
        the address has an unsupported scheme.
        """
        if name is not None and not folder:
            if is_address(name) or name.lower().startswith("file:"):
                name, url = None, name
            else:
                folder, name = os.path.split(name.replace("\\", "/"))
        if name is not None and _SCHEME.match(folder) is None:
            path, exists = self._find_local(folder, name)
            if exists or url is None:
                return path
        elif name is not None:
            url = f"{folder.rstrip('/')}/{name}"
        assert url is not None
        scheme = match[1].lower() if (match := _SCHEME.match(url)) else "file"
        if scheme in ("s3a", "s3n"):  # Hadoop's names for s3
            scheme, url = "s3", "s3" + url[3:]
        if scheme == "file":
            return self._find_local(*os.path.split(_decode(url) if match else url))[0]
        if not is_address(url):
            raise ValueError(f"{url} cannot be read: expected a path, s3://, https:// or file:/")
        # A local copy below `images` saves the download.
        if self._images is not None:
            path, exists = self._find_local(*os.path.split(url.partition("://")[2]))
            if exists:
                return path
        return url

    def _find_local(self, folder: str, name: str) -> tuple[str, bool]:
        """Return the path of a file, and whether its folder exists."""
        if folder not in self._folders:
            self._folders[folder] = self._find_folder(folder)
        here, exists = self._folders[folder]
        path = os.path.join(here, name)
        return path, exists or (self._images is not None and os.path.isfile(path))

    def _find_folder(self, folder: str) -> tuple[str, bool]:
        """Return the folder itself, or its longest tail that exists in `images`, and whether so."""
        # os.path.isdir and not Path.is_dir, which raises OSError for a name that is too long.
        if self._images is None:
            path = self._beside / folder
            return str(path), os.path.isdir(path)
        # Tables from Windows are read on Linux too.
        parts = [part for part in folder.replace("\\", "/").split("/") if part not in ("", ".")]
        tails = (self._images.joinpath(*parts[start:]) for start in range(len(parts)))
        found = next((tail for tail in tails if os.path.isdir(tail)), None)
        return str(found or self._images), found is not None


def _decode(url: str) -> str:
    """Return the path of a file URL: file:///a, file:/a, file://localhost/a or file:a.

    Raises ValueError if the URL names another machine.
    """
    path = url.partition(":")[2]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise ValueError(f"{url} is on the machine {host!r}: expected file:/// and a path")
        path = slash + rest
    return unquote(path)
