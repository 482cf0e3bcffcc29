"""Write requirements with hashes of what phenomae[train] needs, in the versions of constraints.txt.

    make hashes

`uv` finds the packages for all platforms and versions of Python. Those of PyTorch and of the CUDA
libraries that its wheels need differ by platform and have a file for each. The files name no index:
pip asks the one that it is set up for, and refuses what has another hash.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "release" / "requirements"
PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_28",
    "linux-aarch64": "aarch64-manylinux_2_28",
    "macos-arm64": "aarch64-apple-darwin",
    "windows-x86_64": "x86_64-pc-windows-msvc",
}
OF_TORCH = re.compile(r"(torch|triton|nvidia-|cuda-)")
HEAD = """# Made by release/hashes.py. {title}
#     pip install --no-deps --require-hashes -r {name}
"""


def compile_requirements(*how: str) -> list[str]:
    """Return the requirements, each with its hashes: one text of several lines."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--extra", "train"),
            *("--constraint", "constraints.txt", "--python-version", "3.11", "--generate-hashes"),
            *("--no-emit-index-url", "--no-annotate", "--no-header", "--no-config", "--quiet"),
            *how,
        ],
        cwd=ROOT,
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},  # PyTorch's wheels need macOS 14
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", done.stdout, re.MULTILINE | re.DOTALL)


def write(name: str, title: str, requirements: list[str]) -> None:
    """Write one file of requirements."""
    text = HEAD.format(title=title, name=name) + "".join(requirements)
    (OUT / name).write_text(text, encoding="utf-8")
    print(f"{OUT / name}: {len(requirements)} packages")


def main() -> None:
    """Write all files."""
    OUT.mkdir(exist_ok=True)
    everywhere = [it for it in compile_requirements("--universal") if not OF_TORCH.match(it)]
    write("all-but-torch.txt", "All but PyTorch, for every platform:", everywhere)
    for name, platform in PLATFORMS.items():
        found = compile_requirements("--python-platform", platform)
        of_torch = [it for it in found if OF_TORCH.match(it)]
        write(f"torch-{name}.txt", f"PyTorch for {name}:", of_torch)


if __name__ == "__main__":
    main()
