"""A small screen, made as a person makes one: wells, map, results, and a run beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest
from jaxtyping import install_import_hook
from matplotlib.figure import Figure

# Not all of `evidence`: beartype cannot check the hint `pl.DataType`.
CHECKED = ("clusters", "training", "plate_views", "cells", "corrections", "before_after")
SHAPED = ["phenomae.reporting.figures", *(f"phenomae.reporting.evidence.{one}" for one in CHECKED)]
install_import_hook(SHAPED, "beartype.beartype")

from phenomae.correction.correct import CorrectSettings, correct  # noqa: E402
from phenomae.embedding.features import FeaturesSettings, features  # noqa: E402
from phenomae.evaluation.benchmark import benchmark  # noqa: E402
from phenomae.evaluation.settings import BenchmarkSettings  # noqa: E402
from phenomae.maps.map import MapSettings, map_wells  # noqa: E402
from phenomae.reporting.report import ReportSettings, report  # noqa: E402
from phenomae.runs import append_log, finish_run, run_folder  # noqa: E402
from phenomae.signatures import Origin  # noqa: E402
from phenomae.simulation.simulate import SimulateSettings, simulate  # noqa: E402
from phenomae.store.ingest import ingest  # noqa: E402
from phenomae.wells import write_wells  # noqa: E402

GENES, FEATURES = 40, 16


VOID = {"meta", "link", "img", "br", "wbr", "input"}


class Page(HTMLParser):
    """What a browser would find in a page; fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.open: list[str] = []
        self.headings: list[str] = []
        self.images: list[dict] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [values[name] for name in ("src", "href", "srcset") if name in values]
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "img":
            self.images.append(values)
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.text += data
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data
        elif self.open and self.open[-1] in ("h1", "h2"):
            self.headings[-1] += data


@dataclass(frozen=True)
class Screen:
    """Where its artefacts lie; tests copy what they change."""

    run: Path
    map: Path
    results: Path
    """Two sources, two percentile pairs, shuffled."""
    baseline: Path
    """The same questions, asked a noisier map."""
    annotations: Path


def planted(noise: float, seed: int) -> np.ndarray:
    """Return 40 genes in tens of four that resemble each other."""
    groups = np.random.default_rng(0).normal(size=(GENES // 4, FEATURES))
    return np.repeat(groups, 4, axis=0) + noise * np.random.default_rng(seed).normal(
        size=(GENES, FEATURES)
    )


def make_map(folder: Path, name: str, features: np.ndarray) -> Path:
    columns = [f"x{index}" for index in range(FEATURES)]
    table = pl.DataFrame(
        {
            "plate": ["P1"] * GENES,
            "well": [f"{'AB'[row // 20]}{row % 20 + 1:02d}" for row in range(GENES)],
            "gene": [f"GENE{row:02d}" for row in range(GENES)],
            "control": [False] * GENES,
        }
    ).with_columns(pl.Series(column, features[:, index]) for index, column in enumerate(columns))
    write_wells(folder / f"{name}.wells", table, columns)
    path = folder / f"{name}.h5ad"
    map_wells(folder / f"{name}.wells", path, settings=MapSettings(through="wells"))
    return path


def make_run(folder: Path, log: bool = True, picture: bool = True) -> Path:
    origin = Origin("run", {"family": "vit-mae", "steps": 60}, {"store": "5" * 32})
    with run_folder(folder, origin, "pretrain vit-mae"):
        if log:
            append_log(folder, step=0, validation_loss=1.25)
            for step in range(20, 61, 20):
                append_log(folder, step=step, loss=1 / step, lr=1e-4)
            append_log(folder, step=60, validation_loss=0.5)
        if picture:
            figure = Figure(figsize=(3, 2), dpi=50)
            figure.subplots().imshow(np.arange(6).reshape(2, 3))
            figure.savefig(folder / "reconstructions.png")
        finish_run(folder, origin, "7" * 32)
    return folder


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    """The artefacts of a screen of 40 genes."""
    folder = tmp_path_factory.mktemp("screen")
    annotations = folder / "annotations"
    annotations.mkdir()
    pairs = [(a, b) for a in range(GENES) for b in range(a + 1, GENES) if a // 4 == b // 4]
    for name, share in (("complexes", 1), ("signal_ing <&> more", 2)):
        lines = [f"GENE{a:02d},GENE{b:02d}" for a, b in pairs[::share]]
        (annotations / f"{name}.csv").write_text("\n".join(["entity1,entity2", *lines]) + "\n")
    settings = BenchmarkSettings(annotations, low=(0.05, 0.1), high=(0.95, 0.9), shuffle=20)
    made = {}
    for name, noise in (("good", 0.4), ("noisy", 1.5)):
        made[name] = make_map(folder, name, planted(noise, seed=1))
        benchmark(made[name], folder / f"{name}.results", settings=settings)
    return Screen(
        make_run(folder / "run"),
        made["good"],
        folder / "good.results",
        folder / "noisy.results",
        annotations,
    )


@dataclass(frozen=True)
class Imaged:
    """A screen with images: two plates of 12 genes, two fields per well, 8 controls per plate."""

    raw: Path
    store: Path
    wells: Path
    """Features of intensity, before correction."""
    corrected: Path
    map: Path
    annotations: Path


@pytest.fixture(scope="session")
def imaged(tmp_path_factory: pytest.TempPathFactory) -> Imaged:
    """A simulated screen from its images to its map, as a person makes it."""
    folder = tmp_path_factory.mktemp("imaged")
    made = Imaged(
        *(folder / name for name in ("raw", "store", "wells", "corrected", "map.h5ad")),
        folder / "raw" / "relationships.csv",
    )
    size = SimulateSettings(
        genes=12, complexes=4, guides=2, batches=2, controls=8, sites=2, field_size=64, seed=1
    )
    simulate(made.raw, settings=size)
    ingest(made.raw, made.store)
    features(made.store, made.wells, settings=FeaturesSettings(kind="intensity"))
    by_plate = CorrectSettings(method="center-scale", batch="plate")
    correct(made.wells, made.corrected, settings=by_plate)
    map_wells(made.corrected, made.map, settings=MapSettings(by="gene"))
    return made


@pytest.fixture(scope="session")
def placed(imaged, tmp_path_factory) -> Path:
    """The map of the screen with points that other software computed."""
    path = tmp_path_factory.mktemp("placed") / "map.h5ad"
    table = anndata.read_h5ad(imaged.map)
    table.obsm["X_umap"] = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    table.write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def everything(screen: Screen) -> ReportSettings:
    """A report of all there is."""
    return ReportSettings(
        run=screen.run,
        results=screen.results,
        map=screen.map,
        baseline=(f"noisy map={screen.baseline}",),
        title="A <b>screen</b> & its map",
    )


@pytest.fixture(scope="session")
def whole(everything: ReportSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that report."""
    out = tmp_path_factory.mktemp("whole") / "report"
    report(out, settings=everything)
    return out


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a finished run folder of one's own, with or without log and picture."""
    return lambda **parts: make_run(tmp_path / "own_run", **parts)


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Page]:
    """A function that reads the page of a report."""
    return lambda folder: Page((folder / "report.html").read_text())


@pytest.fixture(scope="session")
def make_page(read_page: Callable[[Path], Page]) -> Callable[..., Page]:
    """A function that makes a report with some settings, and reads its page."""

    def make(out: Path, **given) -> Page:
        report(out, settings=ReportSettings(**given))
        return read_page(out)

    return make
