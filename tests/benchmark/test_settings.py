"""What a map cannot be asked."""

from pathlib import Path

import pytest

from phenomae.benchmark.settings import BenchmarkSettings, check_percentiles


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seed": -1}, "--seed -1: give 0 or more"),
        ({"within": "degree"}, "--within degree is for --shuffle, which is not given: give both"),
        (
            {"low": (0.05, 0.01, 0.05), "high": (0.95, 0.99, 0.95)},
            "--low 0.05 and --high 0.95 are asked twice: name them once",
        ),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_percentiles(BenchmarkSettings(Path("known"), **wrong))
