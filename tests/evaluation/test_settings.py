"""Settings of `benchmark` and `ask` that are refused."""

from functools import partial
from pathlib import Path

import pytest

from phenomae.evaluation.questions.compounds import CompoundSettings
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings
from phenomae.evaluation.questions.mechanisms import MechanismSettings
from phenomae.evaluation.questions.precision_settings import PrecisionSettings
from phenomae.evaluation.questions.signal import SignalSettings
from phenomae.evaluation.settings import BenchmarkSettings


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"resamples": -1}, "resamples must be at least 0, not -1"),
        ({"within": "degree"}, "within degree needs shuffle: set shuffle, for example to 200"),
        (
            {"low": (0.05, 0.01, 0.05), "high": (0.95, 0.99, 0.95)},
            "the pair low 0.05 and high 0.95 is repeated: give it once",
        ),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        BenchmarkSettings(Path("known"), **wrong)


@pytest.mark.parametrize(
    "settings",
    [
        partial(SignalSettings),
        partial(PrecisionSettings),
        partial(CompoundSettings, Path("potencies")),
        partial(MechanismSettings, Path("mechanisms")),
        partial(LinearProbeSettings),
    ],
)
def test_questions_need_a_seed_of_0_or_more(settings):
    with pytest.raises(ValueError, match="seed must be at least 0, not -1"):
        settings(seed=-1)
