"""Install the built wheel alone, and run the quickstart with it: make wheel-test.

    python release/wheel_test.py dist/phenomae-0.2.0-py3-none-any.whl FOLDER [--hashes]

Makes FOLDER/environment with the wheel, `[train]` and the versions of constraints.txt, or with
`--hashes` those of release/requirements by their hashes. In FOLDER/desk, where nothing of the
source is, it runs the commands of docs/quickstart.md on a small simulated screen. Of a pretraining
it runs 20 steps, and commands for file names or a pixel size that the screen does not have are left
out. Exit code 1 if any command fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = "phenomae simulate raw --genes 24 --complexes 6"
SMALLER = "--sites 2 --field-size 128"
NOT_OF_THE_SCREEN = ("--pattern", "--pixel-size-um", "phenomae explore")  # which does not end
STEPS = "--steps 20 --checkpoint-every 20 --validation-every 20"
REST = ("phenomae recipes", "phenomae info", "phenomae completion bash", "phenomae -V")


def list_commands() -> list[str]:
    """Return the commands of the quickstart that fit the screen; its steps are in their order."""
    text = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8").replace("\\\n", " ")
    assert FIRST in text
    found = [line.strip() for line in re.findall(r"^ {4}phenomae .*$", text, re.MULTILINE)]
    kept = [line for line in found if not any(word in line for word in NOT_OF_THE_SCREEN)]
    # The page shows --dry-run for each layout; afterwards plates are ingested without it.
    at = max(index for index, line in enumerate(kept) if "--dry-run" in line)
    kept.insert(at + 1, kept[at].replace(" --dry-run", ""))
    return [f"{line} {STEPS}" if " pretrain " in line else line for line in kept]


def install(wheel: Path, home: Path, hashes: bool) -> None:
    """Make an environment with the wheel."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    pip = [home / "bin/pip", "install", "--quiet"]
    if hashes:
        files = ("all-but-torch.txt", "torch-linux-x86_64.txt")
        listed = [word for name in files for word in ("-r", ROOT / "release/requirements" / name)]
        subprocess.run([*pip, "--no-deps", "--require-hashes", *listed], check=True)
        subprocess.run([*pip, "--no-deps", wheel], check=True)
    else:
        pinned = ["--constraint", ROOT / "constraints.txt"]
        subprocess.run([*pip, *pinned, f"phenomae[train] @ {wheel.resolve().as_uri()}"], check=True)
    subprocess.run([home / "bin/pip", "check"], check=True)


def run(desk: Path, home: Path) -> None:
    """Run all commands in a folder of their own, where only the environment is found."""
    shutil.rmtree(desk, ignore_errors=True)
    desk.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept["PATH"] = f"{home / 'bin'}{os.pathsep}{kept['PATH']}"
    for command in (f"{FIRST} {SMALLER}", *list_commands(), *REST):
        print(f"$ {command}", flush=True)
        subprocess.run(["bash", "-c", command], cwd=desk, env=kept, check=True)
    code = "import phenomae; print(phenomae.__file__)"
    where = subprocess.check_output(
        [home / "bin/python", "-c", code], cwd=desk, env=kept, text=True
    )
    assert Path(where.strip()).is_relative_to(home), where
    assert (desk / "report/report.html").stat().st_size > 0


def main() -> int:
    """Install the wheel and run the quickstart; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hashes", action="store_true", help="install by release/requirements")
    given = parser.parse_args()
    home = given.folder.resolve() / "environment"
    try:
        install(given.wheel, home, given.hashes)
        run(given.folder.resolve() / "desk", home)
    except subprocess.CalledProcessError as error:
        print(f"wheel-test: failed: {error}", file=sys.stderr)
        return 1
    print(f"wheel-test: the quickstart ran with {given.wheel.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
