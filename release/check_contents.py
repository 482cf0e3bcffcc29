"""Check that the wheel and the source distribution have all they should: make release.

python release/check_contents.py dist
"""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]
RELATIVE_LINK = re.compile(r"\]\((?!\w+:)")


def list_committed(*folders: str) -> set[str]:
    """Return the files that git has in some folders."""
    command = ["git", "ls-files", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def check_wheel(path: Path) -> list[str]:
    """Return what is wrong with a wheel."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = message_from_bytes(wheel.read(metadata))
    expected = {name.removeprefix("src/") for name in list_committed("src")}
    wrong = [f"{path.name} lacks {name}" for name in sorted(expected - names)]
    ours = {name for name in names if ".dist-info/" not in name}
    wrong += [f"{path.name} has {name} as well" for name in sorted(ours - expected)]
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        wrong.append(f"{path.name} has no licence")
    if RELATIVE_LINK.search(str(described.get_payload())):
        wrong.append(f"the description of {path.name} has a relative link")
    return wrong


def check_source(path: Path) -> list[str]:
    """Return what is wrong with a source distribution."""
    with tarfile.open(path) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    expected = {name for name in list_committed() if not name.startswith(".")}
    return [f"{path.name} lacks {name}" for name in sorted(expected - names)]


def main() -> int:
    """Print what is wrong; return the exit code."""
    dist = Path(sys.argv[1])
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    wrong = [*check_wheel(wheel), *check_source(source)]
    print("\n".join(wrong) or f"{wheel.name} and {source.name} have all they should")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
