"""What `pretrain` returns, and settings that are refused in one sentence."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from phenomae.pretraining.loop import Callback
from phenomae.pretraining.pretrain import pretrain
from phenomae.pretraining.session import Session
from phenomae.probes.commands import ClassifierSettings, VitMaeSettings, pretrain_vit_mae
from phenomae.runs import Run, read_log


def test_a_training_returns_its_run(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    """Also if it was finished before; paths may be text or what another function returned."""
    settings = replace(tiny, steps=2)
    run = pretrain_vit_mae(str(screen_path), str(tmp_path / "run"), settings=settings)
    assert isinstance(run, Run)
    assert repr(run) == f"Run({str(tmp_path / 'run')!r}, family='vit-mae', steps=2)"
    assert os.fspath(run) == str(tmp_path / "run")
    assert (run.family, run.settings["embed_dim"]) == ("vit-mae", tiny.embed_dim)
    log = run.to_polars()
    assert log["step"].to_list() == [line["step"] for line in read_log(run)]
    assert log["loss"].drop_nulls().to_list() == [
        line["loss"] for line in read_log(run) if "loss" in line
    ]
    assert isinstance(run.to_pandas(), pd.DataFrame)
    assert pretrain_vit_mae(screen_path, run, settings=settings) == run
    warm = pretrain_vit_mae(screen_path, tmp_path / "w", settings=replace(settings, init=run))
    assert warm.settings["init"] == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 2**63}, r"seed must be below 2\^63, not 9223372036854775808"),
        ({"betas": (0.9, 1.0)}, r"betas must be at least 0 and below 1, not 1\.0"),
        ({"warmup": 1.0}, r"warmup must be at least 0 and below 1, not 1\.0"),
        ({"milestones": (0.5, 2.0)}, r"milestones must be from 0 to 1, not 2\.0"),
        ({"crops_at_once": 0}, "crops_at_once must be at least 1, not 0"),
        ({"gradient_clip": float("inf")}, "gradient_clip must be at least 0, not inf"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        VitMaeSettings(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"crops_at_once": 3}, "crops_at_once must be at least 2 and a divisor of 256, .* not 3"),
        ({"plates_per_step": 0}, "plates_per_step must be a divisor of crops_per_step 256, not 0"),
        ({"activation_checkpointing": "on"}, "activation_checkpointing must be off for networks"),
    ],
)
def test_settings_that_batch_norm_excludes_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ClassifierSettings(**change)


def test_half_lines_of_a_log_are_left_out_and_foreign_ones_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2, "loss": 0.5}\n{"step": 1, "lo\n{"step": 1, "loss": 0.75}\n')
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.75}, {"step": 2, "loss": 0.5}]
    for line in ("7", "[1]", '{"loss": 1}', '{"step": "1"}'):
        log.write_text(f'{{"step": 2, "loss": 0.5}}\n{line}\n')
        with pytest.raises(ValueError, match=r"log\.jsonl is damaged: a line of it is no record"):
            read_log(tmp_path)


def test_a_training_of_days_on_a_cpu_is_announced(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The estimate is that of the FLOPs; the run stops at once, because a callback raises."""

    def refuse(session: Session) -> Callback:
        raise ValueError("stop")

    def lines(steps: int) -> str:
        settings = replace(tiny, steps=steps, device="cpu")
        with pytest.raises(ValueError, match="stop"):
            pretrain([screen_path, tmp_path / "run"], settings, callbacks=[refuse])
        return capsys.readouterr().err

    assert "days on this CPU" not in lines(100)
    assert re.search(r"10,000,000,000 steps take about [\d,]+ days .* demo-vit-mae", lines(10**10))
