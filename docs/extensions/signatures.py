"""Shows signatures and fields without what only the command line needs.

Types of phenomae carry metadata for cyclopts (`Annotated[int, Parameter(...)]`), and settings have
up to fifty fields, so a signature as autodoc writes it cannot be read.
"""

import inspect
import sys
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import stringify_annotation


def write_type(hint: Any) -> str:
    return stringify_annotation(hint, "smart", short_literals=True)


def write_default(value: object) -> str:
    """Return a default as code: settings and other objects as `NAME()`."""
    simple = value is None or isinstance(value, bool | int | float | str | tuple)
    return repr(value) if simple else f"{type(value).__name__}()"


def write_signature(function: Any) -> tuple[str, str | None]:
    """Return the parameters in parentheses, and the type of what is returned."""
    hints = get_type_hints(function)
    signature = inspect.signature(function)
    parameters = [
        item.replace(annotation=Text(write_type(hints[item.name])), default=quote(item.default))
        if item.name in hints
        else item
        for item in signature.parameters.values()
    ]
    returned = write_type(hints["return"]) if "return" in hints else None
    plain = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return str(plain), returned


class Text:
    """Code that is written into a signature as it is."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __repr__(self) -> str:
        return self.code


def quote(default: Any) -> Any:
    return default if default is inspect.Parameter.empty else Text(write_default(default))


def replace_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str | None] | None:
    """Return the signature of a function; that of a dataclass is empty, for its fields follow."""
    if what == "class":
        return ("", None) if is_dataclass(obj) else None
    if what not in ("function", "method"):
        return None
    try:
        return write_signature(obj)
    except NameError:  # a type that is imported for type checkers only: autodoc shows it as text
        return None


def document_fields(kind: type) -> list[str]:
    """Return directives for the fields of a dataclass in their order, with types and defaults."""
    if not is_dataclass(kind):
        return []
    hints = get_type_hints(kind)
    lines = []
    for field in fields(kind):
        if not field.name.startswith("_"):
            lines += document_field(kind, field, write_type(hints[field.name]))
    return lines


def document_field(kind: type, field: Field[Any], type_text: str) -> list[str]:
    lines = [f".. py:attribute:: {field.name}", f"    :type: {type_text}"]
    if field.default is not MISSING:
        lines.append(f"    :value: {write_default(field.default)}")
    return [*lines, "", *(f"    {line}" for line in field_docs(kind, field.name)), ""]


def field_docs(kind: type, name: str) -> list[str]:
    """Return the docstring below a field, of the class or of the base that it comes from."""
    for base in kind.__mro__:
        if base.__module__ in sys.modules and base.__module__.startswith("phenomae"):
            docs = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
            if lines := docs.get((base.__qualname__, name)):
                return lines
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-signature", replace_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
