"""Rows that run phenomae's commands: a screen, trainings, their interruption, recall."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rows import Site

from phenomae.runs import read_log

ROOT = Path(__file__).parents[2]
SMALL_SCREEN = "--genes 8 --complexes 2 --guides 1 --batches 1 --controls 24 --sites 1"
TINY_NETWORK = (
    "--crop-size 32 --patch-size 8 --embed-dim 24 --depth 2 --num-heads 2 --decoder-embed-dim 16 "
    "--decoder-depth 1 --decoder-num-heads 2"
)
CORRECTION = "--method pca-center-scale --batch plate"


def command(site: Site, words: str) -> list[str]:
    """Return the words of a process that runs a command line of phenomae."""
    filled = words.format(at=site.folder, device=site.device)
    return [sys.executable, "-m", "phenomae", *filled.split()]


def run(site: Site, words: str) -> subprocess.CompletedProcess[str]:
    """Run a command; raises ValueError with what it said last if it fails."""
    done = subprocess.run(command(site, words), capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ValueError(f"{' '.join(words.split()[:2])} ended with {done.returncode}: {said}")
    return done


def make_screen(site: Site) -> Iterator[str]:
    """Simulate a screen and ingest it, on all cores."""
    began = time.monotonic()
    run(site, "simulate {at}/raw --quiet " + (SMALL_SCREEN if site.tiny else ""))
    yield f"simulate: {time.monotonic() - began:.1f} s on {len(os.sched_getaffinity(0))} cores"
    began = time.monotonic()
    run(site, "ingest {at}/raw {at}/store --quiet")
    yield f"ingest: {time.monotonic() - began:.1f} s"


def pretrain(site: Site, name: str, crops: int, steps: int, flags: str = "") -> str:
    """Return the command line of a training of S/16, or of a tiny network."""
    network = TINY_NETWORK if site.tiny else "--config mae-s16"
    crops, steps = (8, 12) if site.tiny else (crops, steps)
    return (
        f"pretrain vit-mae {{at}}/store {{at}}/{name} {network} --steps {steps} "
        f"--crops-per-step {crops} --log-every {max(1, steps // 6)} --validation 0 "
        f"--device {{device}} --quiet --overwrite {flags}"
    )


def describe_run(run: Path, skip: int = 1) -> str:
    """Return the speed of a training from its log, without its first `skip` lines."""
    lines = [line for line in read_log(run) if "loss" in line]
    first, last = lines[min(skip, len(lines) - 2)], lines[-1]
    waited = max(line["data_wait"] for line in lines[skip + 1 :] or lines[-1:])
    seconds = last["seconds"] - first["seconds"]
    each = (last["step"] - first["step"]) / max(seconds, 1e-9)
    return f"{each:.2f} steps/s, data wait at most {waited:.1%}, loss {last['loss']:.3f}"


def train_by_command(site: Site) -> Iterator[str]:
    """Train S/16 from the store, eager and compiled."""
    for mode in ("off", "on"):
        name = f"run-{mode}"
        run(site, pretrain(site, name, 512, 60, f"--compile {mode} --crops-at-once 512"))
        yield f"S/16 from the store, compile {mode}: {describe_run(site.folder / name)}"


def train_in_other_ways(site: Site) -> Iterator[str]:
    """Train with activation checkpointing, with gradients accumulated, and sharded."""
    for name, flags in {
        "checkpointed": "--activation-checkpointing on",
        "accumulated": f"--crops-at-once {2 if site.tiny else 64}",
    }.items():
        run(site, pretrain(site, name, 256, 18, f"--compile off {flags}"))
        yield f"{name}: {describe_run(site.folder / name)}"
    words = command(site, pretrain(site, "sharded", 256, 18, "--compile off --strategy fsdp"))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", *words[1:]]
    done = subprocess.run([sys.executable, *launch], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"fsdp: {(done.stderr.strip().splitlines() or ['nothing'])[-1]}")
    yield f"fsdp, one process: {describe_run(site.folder / 'sharded')}"


def kill_and_go_on(site: Site) -> Iterator[str]:
    """Kill a training after a checkpoint and start it again: it goes on to the same losses."""
    flags = f"--compile off --checkpoint-every {4 if site.tiny else 6}"
    run(site, pretrain(site, "whole", 128, 18, flags))
    words = command(site, pretrain(site, "killed", 128, 18, flags))
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    folder = site.folder / "killed" / "checkpoints"
    while not list(folder.glob("step-*[1-9]*.safetensors")):
        if process.poll() is not None:
            raise ValueError("the training ended before it could be killed")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stopped = len(read_log(site.folder / "killed"))
    run(site, pretrain(site, "killed", 128, 18, flags).replace(" --overwrite", ""))
    whole, again = (
        [line["loss"] for line in read_log(site.folder / name) if "loss" in line][-1]
        for name in ("whole", "killed")
    )
    yield f"killed after {stopped} lines of its log; last loss {again:.6f}, in one go {whole:.6f}"
    if abs(again - whole) > 1e-3 * abs(whole):
        raise ValueError("the training that was killed ended elsewhere")


def run_out_of_memory(site: Site) -> Iterator[str]:
    """Ask for more crops at once than fit: one sentence, and then it goes on with fewer."""
    if site.device != "cuda":
        yield "only on a card"
        return
    words = pretrain(site, "crowded", 16_384, 2, "--compile off --crops-at-once 16384")
    done = subprocess.run(command(site, words), capture_output=True, text=True)
    said = done.stderr.strip().splitlines()
    yield f"exit code {done.returncode}: {said[-1] if said else 'nothing'}"
    if done.returncode != 1 or "out of memory" not in said[-1]:
        raise ValueError("an out-of-memory step is not one sentence")
    fewer = words.replace("16384", "512").replace(" --overwrite", "")
    run(site, fewer.replace("--crops-per-step 512", "--crops-per-step 16384"))
    yield f"with 512 at once: {describe_run(site.folder / 'crowded', 0)}"
    done = run(site, words.replace("--crops-at-once 16384", "").replace("--quiet", ""))
    yield f"auto: {describe_run(site.folder / 'crowded', 0)}"
    yield from (f"auto: {line}" for line in done.stderr.splitlines() if "at_once" in line)


def embed_from_store(site: Site) -> Iterator[str]:
    """Embed the screen with S/16, pixels from the store, all cores reading."""
    run(site, pretrain(site, "untrained", 8, 0))
    began = time.monotonic()
    run(
        site, "embed {at}/store {at}/untrained {at}/wells-s16 --device {device} --quiet --overwrite"
    )
    seconds = time.monotonic() - began
    yield f"embed, start included: {seconds:.1f} s"


def embed_by_shards(site: Site) -> Iterator[str]:
    """Embed the screen once more by two shards on the same card, with the bytes of one process."""
    words = "embed {at}/store {at}/untrained {at}/wells-shards --device {device} --quiet --shard "
    began = time.monotonic()
    shards = [subprocess.Popen(command(site, words + part)) for part in ("1/2", "2/2")]
    codes = [shard.wait() for shard in shards]
    yield f"two shards, start included: {time.monotonic() - began:.1f} s"
    plates = sorted((site.folder / "wells-s16").glob("*.parquet"))
    others = [site.folder / "wells-shards" / plate.name for plate in plates]
    if any(codes) or not plates:
        raise ValueError(f"shards ended with {codes}")
    same = sum(a.read_bytes() == b.read_bytes() for a, b in zip(plates, others, strict=True))
    yield f"plates with the bytes of one process: {same} of {len(plates)}"


def measure_recall(site: Site, name: str, config: str = "") -> str:
    """Embed, correct, map and benchmark with a training; return the recall of planted pairs."""
    run_of = {"random": "random:{at}/demo"}.get(name, f"{{at}}/{name}")
    embed = f"embed {{at}}/store {run_of} {{at}}/wells-{name} --device {{device}} {config}"
    if name == "spectra":
        embed = "features {at}/store {at}/wells-spectra --kind spectra"
    for words in (
        embed,
        f"correct {{at}}/wells-{name} {{at}}/corrected-{name} {CORRECTION}",
        f"map {{at}}/corrected-{name} {{at}}/map-{name}.h5ad --by gene",
        f"benchmark {{at}}/map-{name}.h5ad {{at}}/results-{name} "
        "--annotations {at}/raw/relationships.csv",
    ):
        run(site, f"{words} --quiet --overwrite")
    table = (site.folder / f"results-{name}" / "recall.csv").read_text().splitlines()
    row = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    return f"recall {float(row['recall']):.3f} (chance {float(row['chance']):.3f})"


def run_the_demo(site: Site) -> Iterator[str]:
    """Train the demo's recipe; compare its recall with a random network and with spectra."""
    recipe = "--config demo-vit-mae"
    network = f"{TINY_NETWORK} --crops-per-step 8 --log-every 2" if site.tiny else recipe
    flags = f"{network} --device {{device}} --compile off --quiet --overwrite"
    steps = "--steps 6" if site.tiny else ""
    began = time.monotonic()
    run(site, f"pretrain vit-mae {{at}}/store {{at}}/demo {flags} {steps}")
    yield f"pretrain: {time.monotonic() - began:.1f} s, {describe_run(site.folder / 'demo')}"
    embedding = "" if site.tiny else recipe
    for name in ("demo", "random", "spectra"):
        yield f"{name}: {measure_recall(site, name, embedding)}"


def train_for_the_rest(site: Site) -> Iterator[str]:
    """Train S/16 for the time that is left, and measure its recall."""
    left_s = max(10.0, site.ends_at - time.monotonic() - 45)
    steps = 4 if site.tiny else int(left_s * 6)
    yield f"{steps} steps in about {left_s:.0f} s"
    run(site, pretrain(site, "long", 512, steps, "--compile on --lr 3e-4"))
    yield describe_run(site.folder / "long")
    yield f"S/16: {measure_recall(site, 'long')}"
