"""A screen that is drawn in a second or two."""

from pathlib import Path

import pytest

from phenomae.simulation.simulate import SimulateSettings, simulate

SMALL = SimulateSettings(
    genes=4, complexes=2, guides=2, batches=2, controls=2, sites=2, field_size=64
)


@pytest.fixture(scope="session")
def small() -> SimulateSettings:
    """Four genes on two plates: 20 wells, 40 fields of 64 x 64."""
    return SMALL


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The screen of `small`, as written."""
    path = tmp_path_factory.mktemp("simulated") / "screen"
    simulate(path, settings=SMALL)
    return path
