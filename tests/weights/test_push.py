"""Uploads to the hub: the real client against a server of our own that answers as the hub does.

The client reads where the hub is as it is imported, so each test has a process of its own. Uploads
go by LFS, as the server does not speak Xet.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import flask
import pytest
import torch
from werkzeug.serving import make_server

from phenomae.models.vit.vit_mae import VitMae
from phenomae.weights import io as weights
from phenomae.weights.import_export import export_weights, import_weights
from phenomae.weights.push import _one_sentence

# As the library writes of its transport.
BRACES = "Reqwest Error: reqwest::Error { kind: Request, source: {0} }"
TOKEN = "hf_secret"
FILES = (
    *("README.md", "artefact.json", "config.json", "model.safetensors", "modeling_phenomae.py"),
)
# pytorch_optimizer, which forked processes have, imports the library if there is transformers, and
# the library reads HF_ENDPOINT when it is imported.
PROGRAM = """
import contextlib, io, json, sys
for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
    del sys.modules[name]
from phenomae.cli import run
found = []
for words in {lines}:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = run(words)
    found.append([code, said.getvalue()])
print(json.dumps(found))
"""


class Hub:
    """What a hub holds, and the requests that it got."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict] = {"lab/open": {"private": False, "files": {}}}
        self.objects: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.fail_commits = 0
        self.address = ""

    def files(self, name: str) -> dict[str, bytes]:
        return self.repositories[name]["files"]


def answer(hub: Hub) -> flask.Flask:
    """Return the application that answers the requests of huggingface_hub."""
    app = flask.Flask("hub")

    @app.before_request
    def authorise():
        given = flask.request.headers.get("Authorization")
        if flask.request.path.startswith("/put") or given == f"Bearer {TOKEN}":
            return None
        return flask.Response(status=401, headers={"X-Error-Message": "Invalid credentials"})

    @app.get("/api/models/<owner>/<name>")
    def model_info(owner: str, name: str):
        if owner == "odd":
            return "no JSON"
        if (found := hub.repositories.get(f"{owner}/{name}")) is None:
            return flask.Response(status=404, headers={"X-Error-Code": "RepoNotFound"})
        return {"id": f"{owner}/{name}", "private": found["private"], "sha": "0" * 40}

    @app.post("/api/repos/create")
    def create():
        asked = flask.request.json
        if asked["organization"] == "forbidden":
            return flask.Response(status=403)
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        hub.repositories[name] = {"private": private, "files": {}}
        return {"url": f"{hub.address}/{name}", "id": name}

    @app.post("/api/validate-yaml")
    def validate():
        asked = flask.request.json
        assert asked["repoType"] == "model"
        assert "library_name: phenomae" in asked["content"]
        return {"errors": [], "warnings": []}

    @app.post("/api/models/<owner>/<name>/preupload/main")
    def preupload(owner: str, name: str):
        files = [
            {
                "path": item["path"],
                "uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for item in flask.request.json["files"]
        ]
        return {"files": files}

    @app.post("/<owner>/<name>.git/info/lfs/objects/batch")
    def batch(owner: str, name: str):
        found = []
        for item in flask.request.json["objects"]:
            actions = {"upload": {"href": f"{hub.address}/put/{item['oid']}"}}
            known = item["oid"] in hub.objects
            found.append({**item, **({} if known else {"actions": actions})})
        return {"transfer": "basic", "objects": found}

    @app.put("/put/<oid>")
    def put(oid: str):
        content = flask.request.get_data()
        assert hashlib.sha256(content).hexdigest() == oid
        hub.objects[oid] = content
        hub.uploads.append(oid)
        return ""

    @app.post("/api/models/<owner>/<name>/commit/main")
    def commit(owner: str, name: str):
        if hub.fail_commits:
            hub.fail_commits -= 1
            return flask.Response(status=409)
        files = hub.files(f"{owner}/{name}")
        for line in flask.request.get_data().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = hub.objects[value["oid"]]
        oid = "1" * 40
        url = f"{hub.address}/{owner}/{name}/commit/{oid}"
        return {"success": True, "commitUrl": url, "commitOid": oid, "hookOutput": ""}

    @app.route("/<owner>/<name>/resolve/main/<file>", methods=["GET", "HEAD"])
    def resolve(owner: str, name: str, file: str):
        content = hub.files(f"{owner}/{name}").get(file)
        if content is None:
            return flask.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest()
        return flask.Response(content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": "1" * 40})

    return app


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = make_server("127.0.0.1", 0, answer(hub), threaded=True)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(fork_program: Callable, hub: Hub, tmp_path: Path) -> Callable:
    """Run command lines in one process; return the codes and what is said."""

    def start(lines: list[list[str]], **environment: str) -> list[tuple[int, str]]:
        settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache")}
        settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        settings |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        settings |= {"HF_TOKEN": TOKEN, **environment}
        done = fork_program(PROGRAM.format(lines=lines), **settings).wait()
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return [(code, said) for code, said in json.loads(done.stdout)]

    return start


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_model) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    weights.save(folder / "ours", VitMae(tiny_model, channels=("DNA", "ER")), {})
    export_weights(folder / "ours", folder / "public")
    return folder / "public"


def push(folder: Path, name: str, *flags: str) -> list[str]:
    return ["weights", "push", str(folder), f"hf:{name}", *flags]


def test_a_new_repository_is_private_and_its_weights_come_back(
    run: Callable, hub: Hub, exported: Path, tiny_model, tmp_path: Path
):
    import_line = ["weights", "import", "lab/model", str(tmp_path / "back")]
    (first, said), (second, _) = run([push(exported, "lab/model"), import_line])
    assert (first, second) == (0, 0)
    told = said.splitlines()
    assert told[0] == f"uploading {exported} to {hub.address}/lab/model (new, private):"
    sizes = {name: (exported / name).stat().st_size for name in FILES}
    assert sorted(told[1:6]) == sorted(f"  {name}, {size:,} bytes" for name, size in sizes.items())
    assert told[6] == f"uploaded: {hub.address}/lab/model/commit/{'1' * 40}"
    assert hub.repositories["lab/model"]["private"] is True
    assert hub.files("lab/model") == {name: (exported / name).read_bytes() for name in FILES}
    ours, back = weights.load(exported), weights.load(tmp_path / "back")
    assert back.channels == ("DNA", "ER")
    pixels = torch.rand(1, 2, 16, 16)
    assert torch.equal(back.embed(pixels), ours.embed(pixels))


def test_a_public_repository_is_asked_for_and_one_that_exists_keeps_its_state(
    run: Callable, hub: Hub, exported: Path
):
    hub.files("lab/open")["notes.txt"] = b"mine"
    lines = [push(exported, "lab/new", "--public"), push(exported, "lab/open")]
    (first, said), (second, again) = run(lines)
    assert (first, second) == (0, 0)
    assert "(new, public):" in said
    assert "(exists, public):" in again
    assert hub.repositories["lab/new"]["private"] is False
    assert hub.files("lab/open")["notes.txt"] == b"mine"
    assert {*hub.files("lab/open")} == {*FILES, "notes.txt"}


def test_a_repeated_upload_sends_only_what_is_missing(run: Callable, hub: Hub, exported: Path):
    hub.fail_commits = 1
    (first, said), (second, _) = run([push(exported, "lab/model"), push(exported, "lab/model")])
    assert first == 1
    assert said.splitlines()[-1] == (
        "phenomae: lab/model cannot be uploaded: another commit was made meanwhile: run the "
        "command again"
    )
    assert second == 0
    assert len(hub.uploads) == 1  # the tensors, whose upload was whole
    assert {*hub.files("lab/model")} == {*FILES}


def test_what_cannot_be_uploaded_is_one_sentence(
    run: Callable, hub: Hub, exported: Path, tiny_model, tmp_path: Path
):
    weights.save(tmp_path / "bare", VitMae(tiny_model, channels=2), {})
    import_weights(str(exported), tmp_path / "imported")
    sentences = {
        "": "repository must be hf:OWNER/NAME, not hf:",
        "lab": "repository must be hf:OWNER/NAME, not hf:lab",
        "lab/a--b": "lab/a--b is not the name of a repository: ",
        "forbidden/model": "the token may not do this: it needs the right to write to forbidden/m",
        "odd/model": "odd/model cannot be uploaded: Expecting value: line 1 column 1 (char 0); run",
    }
    folders = {
        "absent": "absent holds no weights: there is nothing of that name",
        "bare": "bare holds no weights: artefact.json is missing",
        "imported": "imported has no model card (README.md): export the weights with phenomae wei",
    }
    lines = [push(exported, name) for name in sentences]
    lines += [push(tmp_path / name, "lab/model") for name in folders]
    expected = [*sentences.values(), *folders.values()]
    for (code, said), sentence in zip(run(lines), expected, strict=True):
        last = said.splitlines()[-1]
        assert (code, last.startswith("phenomae: ")) == (1, True)
        assert sentence in last
    assert set(hub.repositories) == {"lab/open"}
    with pytest.raises(ValueError, match=re.escape(BRACES)), _one_sentence("lab/model"):
        raise RuntimeError(BRACES)
    (wrong,) = run([push(exported, "lab/model")], HF_TOKEN="hf_wrong")
    assert "the hub does not accept the token: log in again with hf auth login" in wrong[1]
    assert "hf_wrong" not in wrong[1]
    (none,) = run([push(exported, "lab/model")], HF_TOKEN="")
    assert none == (
        1,
        "phenomae: there is no token of the hub: run hf auth login, or set HF_TOKEN\n",
    )


def test_a_hub_that_cannot_be_reached_is_one_sentence(run: Callable, exported: Path):
    ((code, said),) = run([push(exported, "lab/model")], HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 1
    assert said.startswith("phenomae: lab/model cannot be uploaded: ")
    assert said.endswith("; run the same command again to go on\n")
    assert said.count("\n") == 1
