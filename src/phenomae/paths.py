"""What functions take where a file or folder is meant: text or any path object, as `open` does."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token


def _convert(type_: Any, tokens: Sequence[Token]) -> Path:
    return Path(tokens[0].value)


PathLike = Annotated[str | os.PathLike[str], Parameter(converter=_convert)]
"""A file or folder on this machine; also what another command returned (`phenomae.outputs`)."""
