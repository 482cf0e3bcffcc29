"""The settings of `sweep`, and the corrections that it tries."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from phenomae import checks
from phenomae.correction.methods import METHODS, load_method
from phenomae.correction.principal_axes import ALL, AUTO
from phenomae.correction.settings import CorrectSettings, FewControls
from phenomae.evaluation.settings import BenchmarkSettings, Several
from phenomae.maps.settings import MapSettings
from phenomae.paths import PathLike

NONE = "none"
"""The method of the row of the wells as they are."""
THEN = " then "


@Parameter(name="*")
@dataclass(frozen=True)
class SweepSettings:
    """Which corrections are tried, and how their maps are scored."""

    annotations: PathLike
    """Known pairs, as in benchmark: a file, or a folder of files. The pairs of all files count
    together, each once."""
    methods: Annotated[tuple[str, ...], Several] = (
        NONE,
        "center-scale",
        "pca-center-scale",
        "tvn",
        "tvn-2024",
        "center-scale then tvn:",
    )
    """Corrections to try, written as in --method of correct: "tvn(ridge=1):batch". "A then B" is A
    followed by B, as with --then; none leaves the wells as they are."""
    components: Annotated[tuple[str, ...], Several] = ("auto", "32", "128", "all")
    """Numbers of principal axes, auto or all, to try in each method that has this setting and does
    not set it itself. Numbers that are not below the number of features are left out."""
    batch: str | None = "plate"
    """Column of the batches, as in correct. Empty: all wells are one batch."""
    few_controls: FewControls = "error"
    """What to do with a batch of fewer than 2 controls, as in correct."""
    by: Literal["gene", "compound", "perturbation"] = "gene"
    """Column of the wells that names the rows of the maps, as in map."""
    through: Literal["guides", "wells"] | None = None
    """How wells are averaged, as in map. Default: guides for --by gene, wells otherwise."""
    low: float = 0.05
    """A known pair is recalled if its cosine is within this lowest fraction of all cosines."""
    high: float = 0.95
    """A known pair is also recalled if its cosine is above this fraction of all cosines."""
    resamples: int = 1000
    """Number of bootstrap resamples of the genes for 95 % confidence intervals."""
    seed: int = 0
    """Seed of the halves of the pairs, and of the bootstrap."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown method or a setting outside its range."""
        checks.whole_numbers(self)
        if not self.methods or not self.components:
            raise ValueError("methods and components must have at least one value each")
        checks.at_least("resamples", self.resamples, 1)
        for word in self.components:
            number = word.isascii() and word.isdecimal() and int(word) > 0
            rule = "whole numbers of at least 1, auto or all"
            checks.require(number or word in (AUTO, ALL), "components", rule, word)
        if not self.batch:
            object.__setattr__(self, "batch", None)
        for made in (self.map, self.scoring):
            assert made  # they check their settings
        names = [trial.name for trial in list_trials(self, None)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"methods has {repeated[0]} twice: give it once")

    @property
    def map(self) -> MapSettings:
        """The settings of the maps."""
        return MapSettings(by=self.by, through=self.through)

    @property
    def scoring(self) -> BenchmarkSettings:
        """The settings of recall."""
        return BenchmarkSettings(
            self.annotations,
            low=(self.low,),
            high=(self.high,),
            resamples=self.resamples,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Trial:
    """One correction to try; `settings` are None for the wells as they are."""

    name: str
    settings: CorrectSettings | None


def list_trials(settings: SweepSettings, width: int | None) -> list[Trial]:
    """Return the corrections to try on wells with `width` features, in their order.

    None takes all `components`, however many features there are. Raises ValueError, naming the
    method, if it does not exist or has no such setting.
    """
    trials: list[Trial] = []
    for text in settings.methods:
        if text == NONE:
            trials.append(Trial(NONE, None))
            continue
        names = [_with_components(text, word) for word in _usable(settings, width)]
        for name in dict.fromkeys(names):  # a method without the setting is tried once
            trials.append(Trial(name, _settings_of(name, settings)))
    return trials


def _usable(settings: SweepSettings, width: int | None) -> Iterator[str]:
    for word in settings.components:
        if word in (AUTO, ALL) or width is None or int(word) < width:
            yield word


def _settings_of(name: str, settings: SweepSettings) -> CorrectSettings:
    method, *then = name.split(THEN)
    try:
        return CorrectSettings(method, settings.batch, tuple(then), settings.few_controls)
    except ValueError as error:
        raise ValueError(f"methods {name}: {error}") from None


def _with_components(text: str, components: str) -> str:
    """Return the correction with this setting in the first method that has it and does not set it.

    Later methods keep their default, because they have as many features as the first one keeps.
    """
    methods = text.split(THEN)
    for place, method in enumerate(methods):
        if (changed := _set(method, components)) != method:
            return THEN.join([*methods[:place], changed, *methods[place + 1 :]])
    return text


def _set(method: str, components: str) -> str:
    name, colon, column = method.partition(":")
    name, bracket, arguments = name.strip().partition("(")
    if name not in METHODS or "components" not in load_method(name).parameters():
        return method
    if "components" in arguments:
        return method
    own = arguments.rpartition(")")[0] if bracket else ""
    inside = f"{own}, components={components}" if own.strip() else f"components={components}"
    return f"{name}({inside}){colon}{column}"
