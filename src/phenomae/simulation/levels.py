"""Levels of difficulty of a simulated screen: easy, real and hard, as values of the same settings.

The values of `real` and `hard` were chosen from what `benchmarks/real_images.py` measures on real
images (docs/simulate.md has the table), before any network or feature was scored on them. The
comment beside a value names its source; "assumed" means that there is none.
"""

from dataclasses import dataclass, fields, replace
from typing import Annotated

from cyclopts import Group, Parameter

from phenomae.checks import above, at_least, one_of, share


@dataclass(frozen=True)
class Level:
    """Microscope and cells of a level; `LevelSettings` describes every field."""

    fixed_histogram: bool
    photons: float
    read_noise: float
    background: float
    blur: float
    field_focus: float
    haze: float
    illumination: float
    staining: float
    texture: float
    cell_brightness: float
    cell_size: float
    cycling: float
    penetrance: float
    weakest_cell: float
    weakest_guide: float
    layout: float
    density: float
    states: float
    intensity_complexes: float
    relation_complexes: float


# As the first release drew it: clean, and without the effects whose value is 0.
EASY = Level(
    fixed_histogram=True,
    photons=1125.0,
    read_noise=10.0,
    background=300 / 4500,
    blur=0.75,
    field_focus=0.0,
    haze=0.0,
    illumination=1.0,
    staining=0.2,
    texture=0.0,
    cell_brightness=0.0,
    cell_size=0.0,
    cycling=0.0,
    penetrance=1.0,
    weakest_cell=1.0,
    weakest_guide=0.6,
    layout=0.0,
    density=0.0,
    states=0.0,
    intensity_complexes=0.0,
    relation_complexes=0.0,
)

# As the stains and microscopes of the real images at hand. RxRx1 stands for HUVEC, RPE and U2OS,
# whose nuclei are as large in pixels as the simulated ones; its HEPG2 cells grow in clumps.
REAL = Level(
    fixed_histogram=False,
    # Hundreds, as raw images of an ImageXpress: 567 for DNA, 125 for a dim stain. RxRx1 has 826 to
    # 14,895 in stored pixels, which are averages of several camera pixels (docs/simulate.md).
    photons=800.0,
    # Data sheets of sCMOS cameras give 1 to 2 (ORCA-Flash4.0 V3: 1.6; Zyla 4.2: 1.1).
    read_noise=1.6,
    # RxRx1: noise in the dark is at most 0.9 % of the range where photons at the brightest are few.
    background=0.02,
    # RxRx1: spectra of DNA and ER, slopes of -3.0 to -3.7; 0.75 left Actin at -1.8.
    blur=1.0,
    field_focus=1.0,  # assumed: a plate that tilts by 2 depths of focus over a field
    haze=0.1,  # assumed; low, because the spectra of level easy are already steep
    # BBBC013: light falls by 24 to 41 % over the field; 0.7 fell by 37 to 51 %, easy by 51 to 72 %.
    illumination=0.5,
    staining=0.12,  # RxRx1: sd between plates of one experiment 0.16, of which half is the well's
    texture=0.1,  # assumed
    cell_brightness=0.2,  # RxRx1: sd of log DNA light between nuclei 0.12 to 0.20
    cell_size=0.12,  # RxRx1: sd of log area of nuclei 0.30 to 0.33, and cells vary with them
    cycling=0.45,  # assumed: the usual DNA histogram of growing cells has 50 to 60 % in G1
    penetrance=0.7,  # assumed, as the next two: knockouts by Cas9 leave wild-type cells
    weakest_cell=0.5,
    weakest_guide=0.3,
    layout=0.05,  # BBBC013: sd of rows and columns 0.05 and 0.08 of log number of nuclei
    density=1.0,  # assumed
    states=1.5,  # assumed: both states lie within the bounds of their parameter
    intensity_complexes=0.3,  # assumed
    relation_complexes=0.2,  # a choice: pairs that second-order statistics cannot see
)

# A stress test: tens of photons, incomplete knockdown. Not measured on any image at hand.
HARD = replace(
    REAL,
    photons=80.0,
    read_noise=2.0,
    field_focus=1.5,
    haze=0.2,
    illumination=1.0,
    staining=0.2,
    texture=0.2,
    cell_brightness=0.3,  # RxRx1: 0.2 to 0.47 in channels other than DNA
    cell_size=0.15,
    penetrance=0.5,
    weakest_cell=0.3,
    weakest_guide=0.1,
    layout=0.1,
)

# The help lists these apart from what a screen is made of.
_SINGLE = Parameter(group=Group.create_ordered("Microscope and cells (in place of the level's)"))

LEVELS = {"easy": EASY, "real": REAL, "hard": HARD}


@dataclass(frozen=True)
class LevelSettings:
    """Level of difficulty, and settings that replace single values of it."""

    level: str = "easy"
    """Difficulty: easy (clean images, a fixed histogram), real, or hard. Each setting of microscope
    and cells that is not given has the value of the level (docs/simulate.md)."""
    fixed_histogram: Annotated[bool | None, _SINGLE] = None
    """Give a channel the same histogram in every field, so that intensity cannot detect
    perturbations, and approximate photon noise by a normal distribution."""
    photons: Annotated[float | None, _SINGLE] = None
    """Photons at the brightest pixel of an unperturbed field, in a channel of median brightness."""
    read_noise: Annotated[float | None, _SINGLE] = None
    """Standard deviation of the camera's read noise, in electrons."""
    background: Annotated[float | None, _SINGLE] = None
    """Light outside cells, as a share of the brightest pixel."""
    blur: Annotated[float | None, _SINGLE] = None
    """Point-spread function in focus: standard deviation in pixels."""
    field_focus: Annotated[float | None, _SINGLE] = None
    """Defocus over the field: standard deviation of its blur at the field's edge, in pixels."""
    haze: Annotated[float | None, _SINGLE] = None
    """Out-of-focus light: share of a pixel's light that is spread over about 12 pixels."""
    illumination: Annotated[float | None, _SINGLE] = None
    """Strength of uneven illumination; 1 is the strength of level easy."""
    staining: Annotated[float | None, _SINGLE] = None
    """Standard deviation of the log of a plate's staining per channel; that of batches is 1.75
    times as large, that of wells the same."""
    texture: Annotated[float | None, _SINGLE] = None
    """Standard deviation of patchy staining within a field, relative to its light."""
    cell_brightness: Annotated[float | None, _SINGLE] = None
    """Standard deviation between cells of the log of a channel's light."""
    cell_size: Annotated[float | None, _SINGLE] = None
    """Standard deviation between cells of the log of the radius, on top of 0.08."""
    cycling: Annotated[float | None, _SINGLE] = None
    """Share of cells past G1: more DNA, larger nuclei."""
    penetrance: Annotated[float | None, _SINGLE] = None
    """Share of a guide's cells that respond to it."""
    weakest_cell: Annotated[float | None, _SINGLE] = None
    """Lowest strength of a responding cell; strengths are even from there to 1."""
    weakest_guide: Annotated[float | None, _SINGLE] = None
    """Lowest strength of a gene's guides; strengths are evenly spaced from there to 1."""
    layout: Annotated[float | None, _SINGLE] = None
    """Standard deviation of the effect of a row or a column on the log of staining and number of
    cells; on morphology it is twice as many steps."""
    density: Annotated[float | None, _SINGLE] = None
    """Strength of the effect of neighbours on a cell's morphology."""
    states: Annotated[float | None, _SINGLE] = None
    """Half the difference between the two states of a compartment, in parameter steps."""
    intensity_complexes: Annotated[float | None, _SINGLE] = None
    """Share of complexes that also change the number and the brightness of cells."""
    relation_complexes: Annotated[float | None, _SINGLE] = None
    """Share of complexes that change only the relation of three compartments of a cell."""

    def __post_init__(self) -> None:
        one_of("level", self.level, LEVELS)
        for name in ("photons", "blur"):
            above(name, getattr(self, name), 0)
        for name in _AT_LEAST_0:
            at_least(name, getattr(self, name), 0)
        for name in _SHARES:
            share(name, getattr(self, name))

    @property
    def values(self) -> Level:
        """The level with the settings that were given."""
        given = {field.name: getattr(self, field.name) for field in fields(Level)}
        return replace(
            LEVELS[self.level],
            **{name: value for name, value in given.items() if value is not None},
        )


_AT_LEAST_0 = (
    "read_noise", "background", "field_focus", "illumination", "staining", "texture",
    "cell_brightness", "cell_size", "layout", "density", "states",
)  # fmt: skip
_SHARES = (
    "haze", "cycling", "penetrance", "weakest_cell", "weakest_guide", "intensity_complexes",
    "relation_complexes",
)  # fmt: skip
