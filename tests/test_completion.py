"""The completion of command lines: the script is run by the shell that it is for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phenomae import cli
from phenomae.commands import COMMANDS, GROUPS, NETWORK_PACKAGES
from phenomae.shipped_recipes import recipe_names

ASK = """
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_phenomae
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of bash."""
    path = tmp_path_factory.mktemp("completion") / "phenomae"
    with pytest.MonkeyPatch.context() as patch, open(path, "w") as file:
        patch.setattr("sys.stdout", file)
        assert cli.run(["completion", "bash"]) == 0
    return path


def complete(script: Path, *words: str, cwd: Path) -> list[str]:
    """Return what bash offers for the last word."""
    command = ["bash", "-c", ASK, "bash", str(script), "phenomae", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.slow  # all commands are imported
def test_bash_completes_commands_flags_recipes_and_files(script, tmp_path):
    assert {*COMMANDS, *GROUPS} <= {*complete(script, "", cwd=tmp_path)}
    assert complete(script, "pretrain", "energy", cwd=tmp_path) == ["energy-mae"]
    assert complete(script, "map", "--thr", cwd=tmp_path) == ["--through"]
    assert complete(script, "map", "--through", "w", cwd=tmp_path) == ["wells"]
    assert "--config" in complete(script, "embed", "--c", cwd=tmp_path)
    found = complete(script, "pretrain", "vit-mae", "--config", "demo-", cwd=tmp_path)
    assert found == [name for name in recipe_names() if name.startswith("demo-")]
    (tmp_path / "store-one").touch()
    assert complete(script, "embed", "s3://bucket/store", "store", cwd=tmp_path) == ["store-one"]
    assert "complete -o default -F _phenomae phenomae" in script.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(shell, tmp_path, capsys):
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}, which is not installed")
    capsys.readouterr()
    assert cli.run(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.mark.slow
def test_without_torch_the_commands_that_need_it_are_left_out(tmp_path):
    program = f"""
import sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NETWORK_PACKAGES}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NotInstalled())
from phenomae.cli import run
codes = [run(words) for words in (["completion", "bash"], ["info"], ["recipes"])]
sys.exit(max(codes))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "device                  none: torch is not installed" in done.stdout
    assert '"correct")' in done.stdout
    assert "--method" in done.stdout
    assert "energy-mae)" not in done.stdout
    assert "--weight-decay" not in done.stdout


def test_another_shell_is_refused(capsys):
    assert cli.run(["completion", "tcsh"]) == 2
    assert 'Invalid value "tcsh" for SHELL' in capsys.readouterr().err
