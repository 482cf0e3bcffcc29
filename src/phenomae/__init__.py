"""Masked autoencoders for cell morphology, from raw plates to a benchmarked map of genes.

Everything public is an attribute of this package: `phenomae.ingest(...)`, `phenomae.TVN(...)`,
`phenomae.load_model(...)`. A name is imported when it is first used, so that `import phenomae`
takes a few milliseconds and loads neither torch nor numpy. The names are listed in
`__init__.pyi`, which is also what editors and type checkers read.
"""

from importlib import import_module

__version__ = "0.2.0"

_public: dict[str, str] = {}


def _stub_lines() -> list[str]:
    with open(f"{__file__}i", encoding="utf-8") as stub:  # pathlib would triple the import time
        return stub.read().splitlines()


def _read_public() -> dict[str, str]:
    """Return the module of every public name, from the stub's lines `from MODULE import A as A`."""
    if not _public:
        for line in _stub_lines():
            if line.startswith("from phenomae."):
                _, module, _, _, _, name = line.split()
                _public[name] = module
    return _public


def __getattr__(name: str) -> object:
    if name not in _read_public():
        raise AttributeError(f"module 'phenomae' has no attribute {name!r}")
    value = getattr(import_module(_public[name]), name)
    globals()[name] = value  # the next access finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_read_public()})
