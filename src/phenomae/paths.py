"""The type of every path that a public function or a settings class takes.

Callers may pass text, `pathlib.Path` or any other path object, as `open` allows, and also what an
earlier command returned (`phenomae.outputs`). Functions turn it into a `Path` first thing.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token


def _convert(type_: Any, tokens: Sequence[Token]) -> Path:
    return Path(tokens[0].value)


# The converter is needed because cyclopts cannot make an os.PathLike from text; without the metavar
# `--help` would print the union as STR|PATHLIKE[STR]. `Path` is there for shell completion, which
# offers the names of files for this type alone.
PathLike = Annotated[str | Path | os.PathLike[str], Parameter(converter=_convert, metavar="PATH")]
"""A file or folder on this machine."""
