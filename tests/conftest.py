"""Fixtures every room's tests may ask for."""

import contextlib
import csv
import functools
import gc
import json
import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pytest
import tifffile
from jaxtyping import install_import_hook

from phenomae.records import FIELD_COLUMNS
from phenomae.signatures import Origin, hash_files, sign
from phenomae.store.read import REPORT, TABLE
from phenomae.store.table import report_problems
from phenomae.store.write import checksum, write_array
from phenomae.whole_files import hash_json, sha256_of

# Shapes in the signatures of the networks' wing are checked here, and only here. The hook works on
# what is imported after it, so it stands above every test of them.
ROOMS = ("models", "weights", "devices", "crops", "pretraining", "embedding", "probes")
WING = [f"phenomae.{room}" for room in ROOMS]
install_import_hook(WING, "beartype.beartype")


def pytest_collection_finish() -> None:
    """Keep what is imported out of Python's garbage collection, which would visit it over again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden cases and real data that lies beside the project on some machines."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the golden cases and data in ../shared, which are not here")
    return folder


@pytest.fixture(scope="session")
def golden_case() -> Callable[[str], Path]:
    """Returns the folder of a golden case by name: from `tests/data`, else from `../shared`."""

    def find(name: str) -> Path:
        places = [Path(__file__).parent / "data", Path(__file__).parents[2] / "shared/fixtures"]
        found = [place / name for place in places if (place / name).exists()]
        if not found:
            pytest.skip(f"needs the golden case {name} in ../shared, which is not here")
        return found[0]

    return find


class Resign(Protocol):
    """Signs an artefact anew after its files were changed; `changes` are of `artefact.json`."""

    def __call__(self, folder: Path, **changes: Any) -> None: ...


@pytest.fixture(scope="session")
def resign() -> Resign:
    """Signs an artefact whose files a test has changed, as if it had been written like that.

    Without it, every change is found by its checksum, and what else is checked is not reached.
    """

    def sign_anew(folder: Path, **changes: Any) -> None:
        path = folder / "artefact.json"
        signature = json.loads(path.read_text())
        del signature["checksum"]
        files = hash_files(folder)
        if signature["kind"] in ("store", "run"):  # not the plates, and not the checkpoints
            files = {name: files[name] for name in signature["files"] if name in files}
        signature |= {"files": files, **changes}
        path.write_text(json.dumps({**signature, "checksum": hash_json(signature)}))

    return sign_anew


class MakeStore(Protocol):
    """Writes a store of random pixels, or of those given as (plate, well, site) -> (c, h, w)."""

    def __call__(
        self, path: Path, pixels: dict[tuple[str, str, int], np.ndarray], channels: Sequence[str]
    ) -> Path: ...


@pytest.fixture(scope="session")
def make_store() -> MakeStore:
    """A store of given pixels, (plate, well, site) -> (c, h, w), written by the store's own writer.

    Wells of the first column are controls; windows are 100 to 4000.
    """
    return _write_store


def _write_store(
    path: Path, pixels: dict[tuple[str, str, int], np.ndarray], channels: Sequence[str]
) -> Path:
    path.mkdir(parents=True)
    rows = []
    sites: dict[tuple[str, str], int] = {}
    for (plate, well, site), image in sorted(pixels.items()):
        index = sites[plate, well] = sites.get((plate, well), -1) + 1
        where = f"{plate}.zarr/{well[0]}/{well[1:]}/{index}"
        write_array(path / where / "0", image)
        rows.append(
            {
                "plate": plate,
                "well": well,
                "site": site,
                "batch": plate,
                "perturbation": f"gene {well}",
                "gene": f"gene {well}",
                "control": well[1:] == "01",
                "path": where,
                "height": image.shape[1],
                "width": image.shape[2],
                "window_low": [100.0] * len(channels),
                "window_high": [4000.0] * len(channels),
                "checksum": checksum(image),
            }
        )
    table = pl.DataFrame(rows, schema=FIELD_COLUMNS)
    table.write_parquet(path / TABLE)
    dtype = str(next(iter(pixels.values())).dtype) if pixels else "uint8"
    settings = {"channels": list(channels), "dtype": dtype, "pixel_size_um": 0.5}
    origin = Origin("store", settings, {"pixels": hash_json(table["checksum"].to_list())})
    (path / REPORT).write_bytes(report_problems([]))
    files = {name: sha256_of(path / name) for name in (TABLE, REPORT)}
    sign(path, origin, origin.identity, files)
    return path


class _Quiet(SimpleHTTPRequestHandler):
    hides = False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Deny what is not there, as a bucket that may not be listed does, if this server hides."""
        super().send_error(403 if code == 404 and self.hides else code, message, explain)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Hiding(_Quiet):
    hides = True


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server of `tmp_path`."""
    with _serve(_Quiet, tmp_path) as url:
        yield url


@pytest.fixture
def served_hiding(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server of `tmp_path` that denies access to what is not there."""
    with _serve(_Hiding, tmp_path) as url:
        yield url


@contextlib.contextmanager
def _serve(kind: type[_Quiet], folder: Path) -> Iterator[str]:
    handler = functools.partial(kind, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class WriteZarrPlate(Protocol):
    """Writes an OME-Zarr plate of arrays given as `B/03/0` -> pixels; returns its folder."""

    def __call__(
        self,
        folder: Path,
        images: Mapping[str, np.ndarray],
        *,
        version: str = "0.4",
        axes: str = "cyx",
        labels: Sequence[str] = (),
        scale: float | None = 0.5,
        unit: str | None = "micrometer",
        acquisitions: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> Path: ...


@pytest.fixture(scope="session")
def write_zarr_plate() -> WriteZarrPlate:
    """A plate as the specifications of OME-Zarr 0.4 and 0.5 describe it, written by zarr-python."""
    return _write_zarr_plate


def _write_zarr_plate(
    folder: Path,
    images: Mapping[str, np.ndarray],
    *,
    version: str = "0.4",
    axes: str = "cyx",
    labels: Sequence[str] = (),
    scale: float | None = 0.5,
    unit: str | None = "micrometer",
    acquisitions: Mapping[str, int] | None = None,
    **kwargs: Any,
) -> Path:
    import zarr

    is_new = version == "0.5"
    root = zarr.open_group(folder, mode="w", zarr_format=3 if is_new else 2)

    def describe(group: zarr.Group, **keys: Any) -> None:
        group.attrs.update({"ome": {"version": version, **keys}} if is_new else keys)

    wells: dict[str, list[str]] = {}
    for path in images:
        well, _, image = path.rpartition("/")
        wells.setdefault(well, []).append(image)
    rows = sorted({well.split("/")[0] for well in wells})
    columns = sorted({well.split("/")[1] for well in wells})
    listed = [
        {"path": well, "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
        for well, (row, column) in ((well, well.split("/")) for well in wells)
    ]
    plate = {"rows": [{"name": name} for name in rows], "wells": listed}
    plate["columns"] = [{"name": name} for name in columns]
    describe(root, plate=plate)
    for well, names in wells.items():
        extra = {name: {"acquisition": acquisitions[name]} for name in names if acquisitions}
        items = [{"path": name, **extra.get(name, {})} for name in names]
        describe(root.create_group(well), well={"images": items})
    kinds = {"t": "time", "c": "channel"}
    for path, pixels in images.items():
        group = root.create_group(path)
        spaces = {"unit": unit} if unit else {}
        listed_axes = [
            {"name": name, "type": kinds.get(name, "space"), **({} if name in kinds else spaces)}
            for name in axes
        ]
        scales = [scale if name in "yx" else 1.0 for name in axes]
        steps = [] if scale is None else [{"type": "scale", "scale": scales}]
        dataset = {"path": "0", "coordinateTransformations": steps}
        keys: dict[str, Any] = {"multiscales": [{"axes": listed_axes, "datasets": [dataset]}]}
        if labels:
            keys["omero"] = {"channels": [{"label": name} for name in labels]}
        describe(group, **keys)
        chunks = (1,) * (pixels.ndim - 2) + (32, 32)
        settings = {"chunks": chunks, "config": {"write_empty_chunks": False}, **kwargs}
        array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, **settings)
        array[...] = pixels
    return folder


@pytest.fixture
def write_screen(tmp_path: Path, write_raw: Callable[..., Path]) -> Callable[..., Path]:
    """`write_raw` into a folder of the test's own, by default `raw`."""
    return lambda name="raw", **how: write_raw(tmp_path / name, **how)


@pytest.fixture(scope="session")
def write_raw() -> Callable[..., Path]:
    """A function that writes a small raw screen of noise, LoadData CSV and plate map, as files."""

    def write(
        raw: Path,
        plates: tuple[str, ...] = ("P1",),
        wells: tuple[str, ...] = ("A01", "A02", "B01"),
        sites: int = 2,
        channels: tuple[str, ...] = ("DNA", "ER"),
        size: tuple[int, int] = (150, 130),
        dtype: str = "uint16",
    ) -> Path:
        rng = np.random.default_rng(0)
        fields, mapped = [], []
        for plate in plates:
            folder = raw / "images" / plate
            folder.mkdir(parents=True)
            for number, well in enumerate(wells):
                mapped.append([plate, well, f"GENE{number}", f"GENE{number}_1", number == 0])
                for site in range(1, sites + 1):
                    names = [f"{well}_s{site}_{channel}.tiff" for channel in channels]
                    for file in names:
                        pixels = rng.poisson(rng.uniform(20, 200), size).astype(dtype)
                        tifffile.imwrite(folder / file, pixels)
                    fields.append([plate, well, site, *names, *[f"images/{plate}"] * len(names)])
        columns = [f"{part}_Orig{c}" for part in ("FileName", "PathName") for c in channels]
        head = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", *columns]
        tables = {
            "load_data.csv": [head, *fields],
            "plate_map.csv": [["plate", "well", "gene", "guide", "control"], *mapped],
        }
        for file, rows in tables.items():
            with open(raw / file, "w", newline="") as opened:
                csv.writer(opened).writerows(rows)
        return raw

    return write


@dataclass(frozen=True)
class Bucket:
    """A bucket of a local S3 server, which commands find by the environment."""

    name: str
    client: Any
    """Amazon's own client: the outside judge of what lies there."""

    def address(self, name: str) -> str:
        return f"s3://{self.name}/{name}"

    def contents(self, folder: str) -> dict[str, bytes]:
        """Every object below a folder and its bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=f"{folder}/"
        )
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        get = self.client.get_object
        return {
            key.removeprefix(f"{folder}/"): get(Bucket=self.name, Key=key)["Body"].read()
            for key in keys
        }


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of a local server that speaks S3."""
    moto = pytest.importorskip("moto.server", reason="needs moto")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Bucket:
    """A bucket of its own for each test, as open servers are cached by their address."""
    import boto3

    settings = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_NO_SIGN_REQUEST", raising=False)
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=s3_server)
    name = f"bucket-{hash_json(request.node.nodeid)}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client)


# Run in the forked process, where the names that are not defined here are those of `Fork`.
FORKED = """
import os, sys
os.setsid()
for number, path in ((1, printed), (2, said)):
    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
os.environ.clear()
os.environ.update(environment)
exec(program)
"""
COMMAND = """
{before}
from phenomae import cli
code = cli.run({words})
{after}
sys.exit(code)
"""
# Packages of others that commands with networks import. What is ours each process imports itself:
# that takes a tenth of a second, and so it can be imported in any order, or after other settings.
PRELOADED = (
    *("torch._dynamo", "torch.distributed.fsdp", "lightning_fabric", "pytorch_optimizer"),
    *("beartype", "cyclopts", "einops", "jaxtyping", "matplotlib.figure", "polars", "pydantic"),
    *("rich.table", "safetensors.torch", "tensorstore", "tifffile"),
)


@dataclass
class Forked:
    """A phenomae command in a process of its own, the leader of its process group."""

    process: BaseProcess
    printed: Path
    said: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """Return the exit code, minus a signal's number if it was killed; None while it runs."""
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal; does nothing if the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Wait for its end; return its exit code and what it printed."""
        self.process.join(timeout_s)
        code = self.process.exitcode
        assert code is not None, f"still running after {timeout_s} s"
        return subprocess.CompletedProcess(
            (), code, self.printed.read_text(), self.said.read_text()
        )


class ForkProgram(Protocol):
    """Runs Python code in a process of its own."""

    def __call__(self, program: str, **environment: str) -> Forked: ...


class Fork(Protocol):
    """Starts a command; `before` and `after` are Python code that its process runs as well."""

    def __call__(
        self, words: Sequence[object], *, before: str = "", after: str = "", **environment: str
    ) -> Forked: ...


@pytest.fixture(scope="session")
def fork_program(tmp_path_factory: pytest.TempPathFactory) -> ForkProgram:
    """A function that runs Python code by forking a process that has imported torch.

    A new Python takes seconds to import it. That process is a server of Python's own, not the one
    that runs the tests, whose threads a fork would lose.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    folder = tmp_path_factory.mktemp("forked")
    first = context.Process(target=int)  # it waits for the imports, so that no test has to
    first.start()
    first.join()

    def start(program: str, **environment: str) -> Forked:
        number = len(list(folder.iterdir()))
        printed, said = folder / f"{number}-printed.txt", folder / f"{number}-said.txt"
        printed.touch()
        said.touch()
        names = {
            "program": program,
            "environment": {**os.environ, **environment},
            "printed": str(printed),
            "said": str(said),
        }
        process = context.Process(target=exec, args=(FORKED, names))
        process.start()
        return Forked(process, printed, said)

    return start


@pytest.fixture(scope="session")
def fork(fork_program: ForkProgram) -> Fork:
    """A function that starts a command by forking a process that has imported torch."""

    def start(
        words: Sequence[object], *, before: str = "", after: str = "", **environment: str
    ) -> Forked:
        listed = [str(word) for word in words]
        program = COMMAND.format(before=before, words=listed, after=after)
        return fork_program(program, **environment)

    return start


KILL_BEFORE_CHANGE = """
import os, signal, sys
changes = 0

def watch(event, arguments):
    global changes
    if event == "open":
        if not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
    elif event not in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"):
        return
    if str(arguments[0]).startswith({place!r}):
        changes += 1
        if changes == {moment}:
            {kill}

sys.addaudithook(watch)
"""


class KillBeforeChange(Protocol):
    """Returns code for `before` that counts changes of files in `changes`, and kills before one."""

    def __call__(self, place: Path, moment: int, *, workers: bool = True) -> str: ...


@pytest.fixture(scope="session")
def kill_before_change() -> KillBeforeChange:
    """A function that returns code by which a process kills itself before its change `moment`.

    Changes are of files whose paths begin with `place`. Without `workers`, only the process itself
    is killed, and not its children.
    """

    def write(place: Path, moment: int, *, workers: bool = True) -> str:
        kill = f"os.{'killpg(0' if workers else 'kill(os.getpid()'}, signal.SIGKILL)"
        return KILL_BEFORE_CHANGE.format(place=str(place), moment=moment, kill=kill)

    return write
