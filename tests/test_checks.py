"""Whole numbers: a fraction is refused from Python as it is on the command line."""

import numpy as np
import pytest

from phenomae.checks import is_whole, whole_number

# In a process of its own: here beartype checks the arguments of the networks' wing.
WALK = """
import importlib, pkgutil
from dataclasses import MISSING, fields, is_dataclass
from typing import get_type_hints
import numpy as np
import phenomae
from phenomae.checks import is_whole
from phenomae.models.families import FAMILIES

def find_settings():
    # Every class whose fields are flags, and those of `pretrain FAMILY`.
    for item in pkgutil.walk_packages(phenomae.__path__, "phenomae."):
        if not item.name.endswith("__main__"):
            for kind in vars(importlib.import_module(item.name)).values():
                if isinstance(kind, type) and is_dataclass(kind) and hasattr(kind, "__cyclopts__"):
                    yield kind
    for path, _ in FAMILIES.values():
        name = path.rpartition(":")[2] + "Settings"
        yield getattr(importlib.import_module("phenomae.probes.commands"), name)

def make(kind, **changes):
    required = {
        field.name: "some/path"
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    }
    return kind(**(required | changes))

def check_fraction(kind, name, value):
    try:
        make(kind, **{name: value})
    except ValueError as error:
        assert f"{name} must be a whole number, not" in str(error), (kind, name, str(error))
    else:
        raise AssertionError(f"{kind} takes {value} for {name}")

def check_whole(kind, name, default):
    several = isinstance(default, tuple)
    for value in (0.5, 64.25, np.float32(2.5), float("nan")):
        check_fraction(kind, name, (*default, value) if several else value)
    if default == "auto":
        default = 64
    if default is not None:
        whole = tuple(map(float, default)) if several else float(default)
        taken = getattr(make(kind, **{name: whole}), name)
        assert taken == default, (kind, name)
        assert type(taken) is type(default), (kind, name)

kinds = set(find_settings())
public = {name for name in phenomae._read_public() if name.endswith("Settings")}
assert public <= {kind.__name__ for kind in kinds}
count = 0
for kind in kinds:
    for field in fields(kind):
        if is_whole(get_type_hints(kind)[field.name]):
            check_whole(kind, field.name, getattr(make(kind), field.name))
            count += 1
assert count > 150, count
"""

CALLS = """
import numpy as np
import phenomae

features = np.random.default_rng(0).normal(size=(20, 4))
for call, name in (
    (lambda: phenomae.check_store(".", workers=1.5), "workers"),
    (lambda: phenomae.list_models(channels=2.5), "channels"),
    (lambda: phenomae.create_model("vit-mae/S16", channels=2.5), "channels"),
    (lambda: phenomae.plan(["."], phenomae.VitMaeSettings(), processes=1.5), "processes"),
    (lambda: phenomae.TVN(components=2.5).fit(features), "components"),
    (lambda: phenomae.PcaCenterScale(components=2.5).fit(features), "components"),
):
    try:
        call()
    except ValueError as error:
        assert f"{name} must be a whole number, not" in str(error), error
    else:
        raise AssertionError(name)
"""


@pytest.mark.parametrize("program", [WALK, CALLS], ids=["settings", "functions"])
def test_settings_and_functions_take_no_fraction_for_a_whole_number(fork_program, program):
    done = fork_program(program).wait()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, True),
        (int | None, True),
        (tuple[int, ...], True),
        (float, False),
        (int | float, False),
        (str, False),
    ],
)
def test_types_of_whole_numbers(kind, expected):
    assert is_whole(kind) is expected


def test_what_is_no_number_stays():
    for value in (None, "all", "3", True, 3, np.int64(3), [1, 2]):
        assert whole_number("block", value) == value
    assert whole_number("block", [1.0, 2]) == [1, 2]
