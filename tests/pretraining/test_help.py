"""`phenomae pretrain FAMILY --help` lists every option once, in its group."""

import re

import pytest

from phenomae import cli
from phenomae.models.families import FAMILIES

GROUPS = {
    "Network": {"crop-size"},
    "Data": {"where", "balance", "validation", "pixel-size-um"},
    "Optimisation": {"steps", "crops-per-step", "lr", "seed", "gradient-clip", "init"},
    "Hardware": {"device", "precision", "crops-at-once", "activation-checkpointing", "cache-gb"},
    "Checkpoints": {"checkpoint-every", "keep", "milestones", "rollbacks", "track"},
    "Recall": {"recall-every", "annotations", "recall-wells", "recall-crops", "recall-method"},
}
EXTRA = {
    "channel-mae": ("Optimisation", {"drop-channel"}),
    "classifier": ("Optimisation", {"adabn", "plates-per-step"}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_help_lists_every_option_once_in_its_group(
    family: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.run(["pretrain", family, "--help"]) == 0
    text = capsys.readouterr().out
    parts = re.split(r"^╭─ (\w+) ─+╮$", text, flags=re.MULTILINE)
    found = {
        name: re.findall(r"^│\s+--([\w-]+)", body, flags=re.MULTILINE)
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    pairs = ["Pairs"] if family.endswith("mae") else []
    groups = [*list(GROUPS)[:3], *pairs, *list(GROUPS)[3:]]
    assert list(found) == ["Arguments", "Parameters", *groups]
    every = [option for options in found.values() for option in options]
    assert len(every) == len(set(every))
    assert found["Parameters"] == ["overwrite"]
    for name, options in GROUPS.items():
        assert options <= set(found[name]), name
    if family in EXTRA:
        name, options = EXTRA[family]
        assert options <= set(found[name])
