"""Packages of the extra `explore`, which only some commands need."""

from importlib import import_module
from importlib.metadata import version


def require_package(package: str, module: str, needs: str) -> str:
    """Return the version of a package; `needs` is who needs it, like `a layout needs`.

    Raises ValueError, with what to install, if its module cannot be imported.
    """
    try:
        import_module(module)
    except ImportError:
        raise ValueError(
            f"{needs} the package {package}: pip install 'phenomae[explore]'"
        ) from None
    return version(package)
