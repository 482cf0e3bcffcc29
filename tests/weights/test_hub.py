"""Weights from the hub: the real library against a server of our own that speaks as the hub does.

The library reads where the hub is as it is imported, so each test has a process of its own.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from phenomae.models.vit.vit_mae import VitMae
from phenomae.weights import io as weights
from phenomae.weights.import_export import export_weights

COMMIT = "1234567890" * 4
CARD = b"---\nlicense: other\nlicense_name: cells\n---\n"
# pytorch_optimizer, which forked processes have, imports the library if there is transformers.
FORGET = """
def forget(modules):
    for name in [name for name in modules if name.partition(".")[0] == "huggingface_hub"]:
        del modules[name]
"""
# Sources in the order they are asked for; prints what each command line ended with and said.
PROGRAM = """
import contextlib, io, json, sys
forget(sys.modules)
from phenomae.cli import run
found = []
for words in {lines}:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = run(["weights", "import", *words])
    found.append([code, said.getvalue()])
print(json.dumps(found))
"""


# The same for public encoders, of which only the files are fetched.
FIND = """
import json, sys
forget(sys.modules)
from phenomae.progress import set_quiet
from phenomae.weights.public_encoder.find_encoder import find_encoder
set_quiet(True)
found = []
for name in {lines}:
    try:
        files = find_encoder(name)
        found.append([files.name, files.revision, *(path.name for path in files.tensors)])
    except ValueError as error:
        found.append(str(error))
print(json.dumps(found))
"""


class Hub(BaseHTTPRequestHandler):
    """Answers HEAD and GET of /OWNER/NAME/resolve/REVISION/FILE."""

    files: dict[str, dict[str, bytes]]
    """Of each repository."""
    busy: ClassVar[set[str]] = set()
    """Files of lab/busy that cannot be fetched at the moment."""

    def do_HEAD(self) -> None:
        self._answer(self.command)

    def do_GET(self) -> None:
        self._answer(self.command)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, command: str) -> None:
        owner, name, _, revision, file = [*self.path.strip("/").split("/"), "", "", ""][:5]
        repository = f"{owner}/{name}"
        if revision == "absent":
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        if repository == "lab/gated":
            return self._send(403, {"X-Error-Code": "GatedRepo"})
        if repository not in self.files:
            return self._send(404, {"X-Error-Code": "RepoNotFound"})
        moved = revision == "v2" or (repository == "lab/moving" and file != "config.json")
        commit = COMMIT[::-1] if moved else COMMIT
        if len(revision) == len(COMMIT):
            commit = revision
        if repository == "lab/busy" and file in self.busy:
            # 503 and 429 are the same to the library, but it tries again for half a minute.
            return self._send(501, {})
        content = self.files[repository].get(file)
        if content is None:
            return self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if repository == "lab/forbidden" and command == "GET":
            return self._send(403, {})
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Content-Length": str(len(content)),
        }
        if repository == "lab/short" and command == "GET":
            content = content[: len(content) // 2]
            headers["Content-Length"] = str(len(content))
        return self._send(200, headers, content if command == "GET" else b"")

    def _send(self, code: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(code)
        for key, value in {"Content-Length": "0", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_model) -> dict[str, bytes]:
    """A published model."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    weights.save(folder / "ours", VitMae(tiny_model, channels=2), {})
    export_weights(folder / "ours", folder / "public")
    names = ("config.json", "model.safetensors")
    return {name: (folder / "public" / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def hub(files: dict[str, bytes]) -> Iterator[str]:
    """The address of a hub with a few repositories."""
    cut = {**files, "model.safetensors": files["model.safetensors"][:-9]}
    Hub.files = {
        "lab/model": {**files, "README.md": CARD},
        "lab/plain": files,
        "lab/empty": {"README.md": CARD},
        "lab/half": {"config.json": files["config.json"]},
        "lab/cut": cut,
        "lab/short": files,
        "lab/forbidden": files,
        "lab/moving": files,
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run_import(fork_program: Callable, hub: str) -> Callable[..., list[tuple[int, str]]]:
    """Run `weights import` with each line's words in one process; return codes and what is said."""

    def run(lines: list[list[str]], cache: Path, **environment: str) -> list[tuple[int, str]]:
        settings = {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
        settings |= {"NO_PROXY": "127.0.0.1", **environment}
        done = fork_program(FORGET + PROGRAM.format(lines=lines), **settings).wait()
        assert done.returncode == 0, done.stderr
        return [(code, said) for code, said in json.loads(done.stdout)]

    return run


def test_weights_come_from_the_hub_and_then_from_its_cache(
    run_import: Callable, files, tiny_model, tmp_path: Path
):
    lines = [["lab/model", str(tmp_path / "a")], ["lab/plain", str(tmp_path / "b"), "--quiet"]]
    (first, said), (second, silence) = run_import(lines, tmp_path / "cache")
    assert (first, second, silence) == (0, 0, "")
    told = said.splitlines()
    assert told[0] == "fetching lab/model from the hub"
    assert told[-1].startswith("lab/model: licence: other, cells; the public channel-agnostic")
    config = weights.read_config(tmp_path / "a")
    assert (config["source"], config["revision"]) == ("lab/model", COMMIT)
    assert config["published"] == json.loads(files["config.json"])
    assert weights.load(tmp_path / "a").settings == tiny_model
    assert weights.read_config(tmp_path / "b")["licence"] is None

    lines = [["lab/model", str(tmp_path / "c")], ["lab/unknown", str(tmp_path / "d")]]
    cached, absent = run_import(lines, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert cached[0] == 0
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    assert absent[0] == 1
    assert "lab/unknown: there is no such folder, the hub cannot be reached, and" in absent[1]


WRONG = {
    "lab/unknown": "there is no such folder, and on the hub no such repository, or it is privat",
    "lab/gated": "lab/gated is gated: accept its terms on the hub and log in",
    "lab/empty": "lab/empty has no config.json on the hub",
    "lab/half": "lab/half has no model.safetensors on the hub",
    "lab/cut": "model.safetensors is cut short or is not a safetensors file",
    "lab/short": "lab/short: config.json cannot be fetched: ",
    "lab/forbidden": "lab/forbidden: config.json cannot be fetched: ",
    "lab/moving": "lab/moving changed on the hub while it was fetched: try again",
    "lab/a--b": "lab/a--b is not the name of a repository: ",
}


def test_what_the_hub_does_not_give_is_one_sentence(run_import: Callable, tmp_path: Path):
    lines = [[name, str(tmp_path / "out"), "--quiet"] for name in WRONG]
    found = run_import(lines, tmp_path / "cache")
    for (name, sentence), (code, said) in zip(WRONG.items(), found, strict=True):
        assert code == 1, name
        assert said.startswith("phenomae: "), name
        assert sentence in said
        assert said.count("\n") == 1, said
    assert not list(tmp_path.glob("out*"))


def test_a_cache_that_cannot_be_written_is_told_as_the_system_does(
    run_import: Callable, tmp_path: Path
):
    (tmp_path / "cache").write_text("a file")
    ((code, said),) = run_import(
        [["lab/model", str(tmp_path / "out"), "--quiet"]], tmp_path / "cache"
    )
    assert code == 1
    assert "Not a directory" in said
    assert said.count("\n") == 1


SHARDS = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
ENCODERS = {
    "hf:lab/dino": ["lab/dino", COMMIT, "model.safetensors"],
    "hf:lab/dino@v2": ["lab/dino", COMMIT[::-1], "model.safetensors"],
    f"hf:lab/dino@{COMMIT[::-1]}": ["lab/dino", COMMIT[::-1], "model.safetensors"],
    "hf:lab/shards": ["lab/shards", COMMIT, "model-1.safetensors", "model-2.safetensors"],
    "hf:lab/dino@absent": "lab/dino has no revision absent on the hub",
    "hf:lab/pickle": "lab/pickle has no model.safetensors on the hub; weights in pickle files, ",
    "hf:lab/lacking": "lab/lacking has no model-1.safetensors on the hub",
    "hf:lab/unknown": "lab/unknown: there is no such folder, and on the hub no such repository",
    "hf:lab/gated": "lab/gated is gated: accept its terms on the hub and log in",
}


@pytest.fixture
def find(fork_program: Callable, hub: str, tmp_path: Path) -> Callable[..., list]:
    """Find public encoders in one process; return what was found of each, or the error."""

    def start(names: list[str], **environment: str) -> list:
        settings = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        settings |= {"HF_HUB_DISABLE_TELEMETRY": "1", **environment}
        done = fork_program(FORGET + FIND.format(lines=names), **settings).wait()
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return start


def test_public_encoders_come_from_the_hub_at_a_revision_and_then_from_its_cache(find: Callable):
    both = {"config.json": b"{}", "preprocessor_config.json": b"{}"}
    index = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(SHARDS).encode()}
    shards = dict.fromkeys(SHARDS["weight_map"].values(), b"tensors")
    Hub.files |= {
        "lab/dino": {**both, "model.safetensors": b"tensors"},
        "lab/shards": {**index, **shards},
        "lab/lacking": index,
        "lab/pickle": {"config.json": b"{}", "pytorch_model.bin": b"code"},
    }
    for expected, found in zip(ENCODERS.values(), find(list(ENCODERS)), strict=True):
        if isinstance(expected, list):
            assert found == expected
        else:
            assert found.startswith(expected)
            assert "\n" not in found
    names = ["hf:lab/dino", "hf:lab/dino@v2", "hf:lab/shards", "hf:lab/other"]
    *cached, absent = find(names, HF_HUB_OFFLINE="1")
    assert cached == [ENCODERS[name] for name in names[:3]]
    assert absent.startswith("lab/other: there is no such folder, the hub cannot be reached, and")


@pytest.mark.slow  # the library tries again for 23 seconds
def test_a_hub_that_cannot_be_reached_is_one_sentence(find: Callable):
    (unreachable,) = find(["hf:lab/other"], HF_ENDPOINT="http://127.0.0.1:9")
    assert unreachable.startswith("lab/other: ")
    assert "\n" not in unreachable


@pytest.mark.parametrize(
    "file", ["preprocessor_config.json", "model.safetensors", "model.safetensors.index.json"]
)
def test_a_file_that_cannot_be_fetched_now_is_not_taken_for_absent(file: str, find: Callable):
    content = {"config.json": b"{}", "preprocessor_config.json": b"{}"}
    if file == "model.safetensors.index.json":
        content |= {file: json.dumps({"weight_map": {"a": "part.safetensors"}}).encode()}
        content |= {"part.safetensors": b"tensors"}
    else:
        content |= {"model.safetensors": b"tensors"}
    Hub.files["lab/busy"] = content
    Hub.busy = {file}
    sentence = "lab/busy: there is no such folder, the hub cannot be reached, and {} is not in its "
    (online,) = find(["hf:lab/busy"])
    (offline,) = find(["hf:lab/busy"], HF_HUB_OFFLINE="1")
    assert online.startswith(sentence.format(file))
    assert offline.startswith(sentence.format(file))
    Hub.busy = {"README.md"}  # which may be missing
    (found,) = find(["hf:lab/busy"])
    assert found[:2] == ["lab/busy", COMMIT]


def test_files_that_a_repository_lacks_are_known_in_its_cache(find: Callable):
    Hub.files["lab/bare"] = {"config.json": b"{}", "model.safetensors": b"tensors"}
    (found,) = find(["hf:lab/bare"])
    assert found == ["lab/bare", COMMIT, "model.safetensors"]
    assert find(["hf:lab/bare"], HF_HUB_OFFLINE="1") == [found]
