"""Without the package transformers: one sentence that says how to install it."""

import sys
from pathlib import Path

import pytest

from phenomae import cli


def test_the_extra_is_named(screen_path: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    words = ["embed", str(screen_path), "hf:lab/dino", str(tmp_path / "wells")]
    assert cli.run(words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "hf: needs the package transformers: pip install 'phenomae[public]'" in line
    assert not list(tmp_path.iterdir())


def test_own_networks_do_not_need_it(
    screen_path: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "transformers", None)
    words = ["embed", str(screen_path), str(run), str(tmp_path / "wells"), "--device", "cpu"]
    assert cli.run([*words, "--quiet"]) == 0
