"""`import phenomae` and its public names: lazy, documented, typed, and never shadowed by a module.

A sub-package becomes an attribute of `phenomae` when it is first imported, so a room named like a
public function would replace that function, depending on the order of imports.
"""

import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import phenomae

STUB = Path(phenomae.__file__).with_suffix(".pyi")
NAMES = sorted(phenomae._read_public())
FUNCTIONS = [name for name in NAMES if name.islower()]
MODULES = sorted(
    item.name
    for item in pkgutil.walk_packages(phenomae.__path__, "phenomae.")
    if not item.name.endswith("__main__")
)

# Each function is called in a folder with a tiny table of wells, or with paths that are not there:
# then it must raise the error of its own, which proves that it is the function.
CALLS = """
import contextlib, io, os, sys
import polars as pl

def refused(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except (ValueError, OSError) as error:
        assert str(error), function
    else:
        raise AssertionError(f"{function} took what is not there")

def call_all():
    plates = {"plate": ["P1"] * 12, "well": [f"A{i:02d}" for i in range(1, 13)]}
    plates |= {"gene": ["NTC"] * 4 + ["G1", "G2", "G3", "G4"] * 2}
    plates |= {"control": [True] * 4 + [False] * 8}
    plates |= {"x": [float(i) for i in range(12)], "y": [float(i * i) for i in range(12)]}
    phenomae.write_wells("wells", pl.DataFrame(plates), ["x", "y"])
    assert phenomae.read_wells("wells").features.shape == (12, 2)
    settings = phenomae.CorrectSettings(method="center-scale", batch="plate")
    corrected = phenomae.correct("wells", "corrected", settings=settings)
    assert isinstance(corrected, phenomae.Wells)
    settings = phenomae.MapSettings(by="gene", through="wells")
    genes = phenomae.map_wells(corrected, "map.h5ad", settings=settings)
    assert isinstance(genes, phenomae.Map)
    assert phenomae.read_map(genes).names == ["G1", "G2", "G3", "G4"]
    assert phenomae.check(genes)["state"][0] == "complete"
    assert isinstance(phenomae.export(genes, "map.parquet"), phenomae.Table)
    phenomae.export(corrected, "wells.parquet")
    settings = phenomae.ImportSettings(statistic="median")
    imported = phenomae.import_profiles("wells.parquet", "imported", settings)
    assert imported.to_polars().columns[-2:] == ["x", "y"]
    for corrector in (phenomae.MadRobust, phenomae.FeatureSelect):
        assert "fit_transform" in dir(corrector())
    assert phenomae.to_anndata("wells").shape == (12, 2)
    with open("recipe.toml", "w") as file:
        file.write("[embed]\\ncrops_at_once = 3\\n")
    assert phenomae.read_recipe("recipe.toml", ("embed",)) == {"crops_at_once": 3}
    assert isinstance(phenomae.list_models(json=True), list)
    assert isinstance(phenomae.list_recipes()[0], phenomae.ShippedRecipe)
    assert isinstance(phenomae.info(), phenomae.Installation)
    assert phenomae.create_model("vit-mae/S16", channels=["DNA"]).family == "vit-mae"
    for corrector in (phenomae.TVN, phenomae.TVN2024, phenomae.Sphering, phenomae.CenterScale):
        assert "fit" in dir(corrector())
    assert phenomae.PublicEncoderSettings(channels_as="rgb").crop_size is None
    absent = phenomae.BenchmarkSettings(annotations="absent")
    refused(phenomae.benchmark, "absent.h5ad", "out", settings=absent)
    refused(phenomae.simulate, "recipe.toml")
    refused(phenomae.plan, ["absent", "run"], phenomae.VitMaeSettings())
    refused(phenomae.export_plate, "absent", "P1", "P1.ozx")
    refused(phenomae.push_weights, "absent", "hf:lab/model")
    refused(phenomae.report, "out", settings=phenomae.ReportSettings(run="absent"))
    refused(phenomae.compare, "a.h5ad", "b.h5ad", "out")
    refused(phenomae.study, "absent.toml", "out", settings=phenomae.StudySettings())
    refused(phenomae.fetch_annotations, "lists", place="http://127.0.0.1:9")
    refused(phenomae.neighbors, "absent.h5ad", "TP53", settings=phenomae.NeighborsSettings())
    refused(phenomae.layout, "absent.h5ad", settings=phenomae.LayoutSettings(min_dist=0.2))
    refused(phenomae.clusters, "absent.h5ad", "out", settings=phenomae.ClustersSettings(seeds=2))
    refused(phenomae.sweep, "wells", "out", settings=phenomae.SweepSettings("absent"))
    for name in ("vit_mae", "channel_mae", "energy_mae", "unet_mae", "classifier",
                 "vit_classifier"):
        pretrain = getattr(phenomae, f"pretrain_{name}")
        refused(pretrain, "absent", "run")
    for name in (
        "signal", "replicates", "neighbours", "complexes", "enrichment", "compounds", "mechanisms",
        "probe",
    ):
        ask = getattr(phenomae, f"ask_{name}")
        names = [p for p in __import__("inspect").signature(ask).parameters if p != "overwrite"]
        assert "settings" in names, name
    for name, words in {
        "ingest": 2, "check_store": 1, "relabel_store": 1, "open_store": 1, "qc": 2, "features": 2,
        "embed": 3, "load_model": 1, "import_weights": 2, "export_weights": 2,
    }.items():
        refused(getattr(phenomae, name), *["absent"] * (words - 1 or 1), *["out"] * (words > 1))

def check_kinds(expected):
    for name, kind in expected.items():
        value = getattr(phenomae, name)
        assert type(value).__name__ != "module", name
        assert isinstance(value, type) == (kind == "class"), name
"""

# Packages of others are imported once, and then ours in each order in a process of its own.
PROGRAM = """
import anndata, importlib, random, scipy.ndimage, scipy.stats, sklearn.linear_model

def check_order(seed):
    import phenomae
    globals()["phenomae"] = phenomae
    expected, modules = {expected}, {modules}
    random.Random(seed).shuffle(modules)
    half = len(modules) // 2
    for name in modules[:half]:
        importlib.import_module(name)
    check_kinds(expected)
    importlib.import_module("phenomae.progress").set_quiet(True)
    with contextlib.redirect_stdout(io.StringIO()):
        call_all()
    for name in modules[half:]:
        importlib.import_module(name)
    check_kinds(expected)

for seed in (0, 1):
    assert "phenomae" not in sys.modules
    child = os.fork()
    if child == 0:
        os.makedirs(f"{folder}/{{seed}}")
        os.chdir(f"{folder}/{{seed}}")
        check_order(seed)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, seed
"""


def test_public_names_work_in_whatever_order_modules_are_imported(fork_program, tmp_path):
    expected = {name: "function" if name in FUNCTIONS else "class" for name in NAMES}
    program = PROGRAM.format(expected=expected, modules=MODULES, folder=tmp_path)
    done = fork_program(f"{CALLS}\n{program}").wait()
    assert done.returncode == 0, done.stderr


def test_every_public_function_is_called_by_the_test_above():
    uncalled = [name for name in FUNCTIONS if not _is_called(name)]
    assert uncalled == []


def _is_called(name: str) -> bool:
    family = name.removeprefix("pretrain_").removeprefix("ask_")
    return f"phenomae.{name}" in CALLS or f'"{family}"' in CALLS


def test_no_public_name_is_that_of_a_module():
    assert {*NAMES} & {name.split(".")[1] for name in MODULES} == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented_and_annotated(name):
    value = getattr(phenomae, name)
    first = (value.__doc__ or "").partition("\n")[0]
    assert first.endswith((".", "?")), first
    assert not first.startswith(f"{name}(")  # what a dataclass without a docstring has
    signature = inspect.signature(value)
    parameters = [item for item in signature.parameters.values() if item.name != "self"]
    assert [item.name for item in parameters if item.annotation is item.empty] == []
    assert inspect.isclass(value) or signature.return_annotation is not signature.empty


def test_dir_lists_the_public_names_and_others_are_an_attribute_error():
    assert {*NAMES} <= {*dir(phenomae)}
    with pytest.raises(AttributeError, match="module 'phenomae' has no attribute 'embeds'"):
        phenomae.embeds  # noqa: B018


def test_the_package_ships_its_types():
    assert STUB.exists()
    assert (STUB.parent / "py.typed").exists()
    lines = [line for line in STUB.read_text().splitlines() if line.startswith("from ")]
    assert [line.split()[3] for line in lines] == [line.split()[5] for line in lines]


def test_import_takes_under_60_ms():
    times = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import phenomae"],
            capture_output=True,
            text=True,
            check=True,
        )
        (line,) = [line for line in done.stderr.splitlines() if line.endswith("| phenomae")]
        times.append(int(line.split("|")[1]))
    assert min(times) < 60_000  # microseconds
