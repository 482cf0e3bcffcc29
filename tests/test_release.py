"""What a release is made of agrees with the project: versions, requirements, hashes and texts.

The Dockerfile and the conda recipe could not be run; what can be compared is compared here.
"""

import re
import runpy
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from phenomae import command_parser

ROOT = Path(__file__).parents[1]
RELEASE = ROOT / "release"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (RELEASE / "Dockerfile").read_text()
HASHED = sorted((RELEASE / "requirements").glob("*.txt"))
IN_CONDA = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "lightning-fabric": "pytorch-lightning",
}
"""Names that packages have in conda-forge, by those of pyproject.toml."""
RELATIVE_LINK = re.compile(r"\]\((?!\w+:)")


def requirements_of(lines: list[str]) -> dict[str, SpecifierSet]:
    """Return the versions that requirements allow, by canonical name."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(item.name): item.specifier for item in parsed}


NEEDED = requirements_of([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["train"]])
PINNED = requirements_of((ROOT / "constraints.txt").read_text().split())


def script(name: str) -> dict[str, Any]:
    """Return what a script of the release defines."""
    return runpy.run_path(str(RELEASE / name), run_name="script")


@pytest.fixture(scope="module")
def describe():
    """The function that makes the description of a package index."""
    return runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["describe"]


def test_the_description_has_no_link_that_leads_nowhere_on_an_index(describe):
    text = (ROOT / "README.md").read_text()
    assert len(RELATIVE_LINK.findall(text)) > 10
    plain = describe(text, None, "1.2")
    assert not RELATIVE_LINK.search(plain)
    assert "![" not in plain
    assert plain.endswith("are in the source distribution.\n")
    there = describe(text, "https://example.org/phenomae/", "1.2")
    assert not RELATIVE_LINK.search(there)
    assert "[quickstart](https://example.org/phenomae/blob/v1.2/docs/quickstart.md)" in there
    assert "](https://example.org/phenomae/raw/v1.2/docs/demo.png)" in there
    for changed in (plain, there):
        assert "[arXiv 2309.16064](https://arxiv.org/abs/2309.16064)" in changed


def test_links_become_text_or_lead_to_the_repository(describe):
    text = "a [b\nc](d.md#e), ![f](g.png), [h](mailto:i)"
    plain = "a b\nc, *Figure (g.png): f.*, [h](mailto:i)"
    assert describe(text, None, "1").partition("\n\n")[0] == plain
    there = "a [b\nc](r:/blob/v1/d.md#e), ![f](r:/raw/v1/g.png), [h](mailto:i)"
    assert describe(text, "r:", "1") == there


def blocks_of(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Return version and hashes of each package of a file with hashes."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    found = re.findall(r"^([\w.-]+)==(\S+)[^\\]*\\\n((?: .*\n?)+)", text, re.MULTILINE)
    return {
        canonicalize_name(name): (version, re.findall(r"--hash=(\S+)", hashes))
        for name, version, hashes in found
    }


@pytest.mark.parametrize("path", HASHED, ids=lambda path: path.stem)
def test_files_with_hashes_have_the_versions_of_the_constraints_and_no_index(path):
    found = blocks_of(path)
    lines = path.read_text().splitlines()
    assert len(found) == sum("==" in line and not line.startswith("#") for line in lines)
    for name, (version, hashes) in found.items():
        assert name not in PINNED or version in PINNED[name], name
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), name
    assert not re.search("https?:|index-url", path.read_text())
    assert ("torch" in found) == path.stem.startswith("torch-")


def test_files_with_hashes_have_all_that_networks_need():
    names = {path.stem for path in HASHED}
    assert names == {
        "all-but-torch",
        *(f"torch-{name}" for name in script("hashes.py")["PLATFORMS"]),
    }
    shared = blocks_of(RELEASE / "requirements/all-but-torch.txt")
    for path in HASHED:
        if path.stem.startswith("torch-"):
            assert {*NEEDED} <= {*shared, *blocks_of(path)}
            assert not {*shared} & {*blocks_of(path)}


def test_the_container_has_the_version_and_the_files_of_the_project():
    assert DOCKERFILE.startswith("# Not run: ")
    wheels = {name for name in re.findall(r"\S+\.whl", DOCKERFILE) if "*" not in name}
    assert {Path(name).name for name in wheels} == {
        f"phenomae-{PROJECT['version']}-py3-none-any.whl"
    }
    arguments = dict(re.findall(r"^ARG (\w+)=(\S*)$", DOCKERFILE, re.MULTILINE))
    assert arguments["TORCH"] in PINNED["torch"]
    assert arguments["PYTHON"] in SpecifierSet(PROJECT["requires-python"])
    assert arguments["DEVICE"] == "cpu"
    copied = re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE)
    assert all((ROOT / path).exists() or path.startswith("dist/") for path in copied)
    for machine in ("x86_64", "aarch64"):
        assert (RELEASE / f"requirements/torch-linux-{machine}.txt").exists()


@pytest.mark.parametrize("device", ["cpu", "cuda", "none", "tpu"])
@pytest.mark.parametrize("index", ["", "ADDRESS"])
def test_the_container_installs_pytorch_for_the_device(device, index):
    """The shell of the Dockerfile, with a pip that prints what it is asked for."""
    (code,) = re.findall(r"^RUN (set -eu; .*?esac)$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    code = f'pip() {{ echo "pip $*"; }}; uname() {{ echo x86_64; }}; {code}'
    done = subprocess.run(
        ["sh", "-c", code.replace("\\\n", " ")],
        env={"PATH": "/usr/bin:/bin", "DEVICE": device, "TORCH_INDEX": index, "TORCH": "2.13.0"},
        capture_output=True,
        text=True,
    )
    hashed = (
        "pip install --no-cache-dir --no-deps --require-hashes "
        "-r /tmp/requirements/torch-linux-x86_64.txt\n"
    )
    of_index = "pip install --no-cache-dir --no-deps --index-url ADDRESS torch==2.13.0\n"
    expected = {"cuda": hashed, "cpu": of_index if index else hashed, "none": "", "tpu": ""}
    assert done.stdout == expected[device]
    assert done.returncode == (device == "tpu")
    assert ("must be cpu, cuda or none, not tpu" in done.stderr) == (device == "tpu")


def test_the_conda_recipe_needs_what_the_project_needs():
    text = (RELEASE / "conda/recipe.yaml").read_text()
    assert "Not run: " in text
    recipe = yaml.safe_load(text)
    assert recipe["context"]["version"] == PROJECT["version"]
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert (ROOT / recipe["about"]["license_file"]).exists()
    whole, train = recipe["outputs"]
    (entry,) = whole["build"]["python"]["entry_points"]
    assert dict([entry.split(" = ")]) == PROJECT["scripts"]
    python, *run = whole["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    ours, *more = train["requirements"]["run"]
    assert ours == "phenomae ==${{ version }}"
    given = (run, PROJECT["dependencies"]), (more, PROJECT["optional-dependencies"]["train"])
    for in_conda, in_project in given:
        expected = {
            canonicalize_name(IN_CONDA.get(name, name)): versions
            for name, versions in requirements_of(in_project).items()
        }
        assert requirements_of(in_conda) == expected
    _, _, setuptools = whole["requirements"]["host"]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert requirements_of([setuptools]) == requirements_of(build["requires"])


def test_the_wheel_is_tested_with_the_steps_of_the_quickstart():
    commands = script("wheel_test.py")["list_commands"]()
    words = [shlex.split(command, comments=True)[1] for command in commands]
    wanted = {"ingest", "qc", "pretrain", "features", "embed", "correct", "map", "benchmark"}
    assert {*wanted, "report"} <= {*words}
    assert "ingest raw store" in {command.partition(" ")[2] for command in commands}
    for command in commands:
        tokens = shlex.split(command, comments=True)[1:]
        kept = [word for word in tokens if word != "--config" and not word.startswith("demo-")]
        command_parser.parse(kept)


def test_scripts_of_the_release_publish_nothing():
    build = RELEASE / "build.sh"
    subprocess.run(["bash", "-n", build], check=True)
    assert "upload" not in build.read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert "release/build.sh" in makefile
    assert "upload" not in makefile
    tools = requirements_of((RELEASE / "tools.txt").read_text().split())
    assert {*tools} == {"build", "cyclonedx-bom", "twine", "uv"}
    assert all(str(versions).startswith("==") for versions in tools.values())


def test_keywords_and_addresses_are_those_that_are_cited():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {*cited["keywords"]} <= {*PROJECT["keywords"]}
    assert PROJECT["urls"] == {"Paper": cited["references"][0]["url"]}
    tested = "Programming Language :: Python :: 3.11"
    assert tested in PROJECT["classifiers"]
