"""A new correction is one class in one module and one line in METHODS."""

import sys

import numpy as np
import pytest

from phenomae.cli import run
from phenomae.correction.methods import METHODS, load_method
from phenomae.signatures import read_signature
from phenomae.wells import read_wells

MODULE = '''
import numpy as np
from phenomae import checks
from phenomae.correction.batches import ALL_WELLS, each_batch, new_batches
from phenomae.correction.correction import ControlCorrection


class Toy(ControlCorrection):
    """Subtracts alpha times the median of a batch's controls."""

    name = "toy"

    def __init__(self, alpha: float = 1.0, label: str = "none") -> None:
        self.alpha, self.label = alpha, label

    def check_parameters(self):
        checks.at_least("alpha", self.alpha, 0)

    @property
    def known(self):
        return frozenset(self.medians_)

    def learn(self, controls, batches=None):
        self.medians_ = {ALL_WELLS: np.median(controls, axis=0)}
        return self.learn_new(controls, batches)

    def learn_new(self, controls, batches=None):
        for batch, rows in new_batches(batches, self.medians_, len(controls)):
            self.medians_[batch] = np.median(controls[rows], axis=0)
        return self

    def apply(self, features, batches=None):
        corrected = features.copy()
        for batch, rows in each_batch(batches, len(features)):
            corrected[rows] -= self.alpha * self.medians_[batch]
        return corrected

    def state(self):
        names, medians = zip(*self.medians_.items())
        return {"names": np.array(names), "medians": np.array(medians)}

    def restore(self, state):
        self.medians_ = dict(zip(state["names"].tolist(), state["medians"], strict=True))
        return self
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "toy_correction.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setitem(METHODS, "toy", "toy_correction:Toy")
    yield
    sys.modules.pop("toy_correction", None)


def expect(wells, alpha):
    table, features = wells.table, wells.features.astype(np.float64)
    control = table["control"].to_numpy()
    for plate in table["plate"].unique():
        rows = (table["plate"] == plate).to_numpy()
        features[rows] -= alpha * np.median(features[rows & control], axis=0)
    return features


@pytest.mark.usefixtures("toy")
def test_a_toy_correction_from_the_command_line(make_screen, make_plates, tmp_path, capsys):
    wells, out, file = make_screen(), tmp_path / "out", tmp_path / "toy.npz"
    command = ["correct", str(wells), str(out), "--method", "toy(alpha=2):plate"]
    assert run([*command, "--save", str(file)]) == 0
    np.testing.assert_allclose(read_wells(out).features, expect(read_wells(wells), 2), rtol=1e-5)
    assert run(command) == 0
    assert "already there, made with the same settings" in capsys.readouterr().err

    new = make_plates("new", ("P7", "P8"))
    assert run(["correct", str(new), str(tmp_path / "later"), "--apply", str(file)]) == 0
    np.testing.assert_allclose(
        read_wells(tmp_path / "later").features, expect(read_wells(new), 2), rtol=1e-5
    )
    for name in ("out", "later"):
        settings = read_signature(tmp_path / name)["settings"]
        assert (settings["method"], settings["batch"], settings["ridge"]) == ("toy", "plate", None)
        assert settings["parameters"] == [{"alpha": 2.0, "label": "none"}]

    assert run(["correct", str(wells), str(out), "--method", "toy(alpha=3, label=b):plate"]) == 1
    assert "was made with another setting: parameters = [{'alpha': 2.0" in capsys.readouterr().err
    assert run(["correct", str(wells), str(out), "--method", "tvn", "--then", "toy(alpha=-1)"]) > 0
    assert "then toy(alpha=-1): alpha must be at least 0, not -1" in capsys.readouterr().err


@pytest.mark.parametrize("name", METHODS)
def test_each_class_carries_the_name_under_which_it_is_registered(name):
    assert load_method(name).name == name


def test_a_method_that_does_not_exist():
    with pytest.raises(ValueError, match=r"there is no method .*: use one of center-scale, pca-"):
        load_method("combat")
