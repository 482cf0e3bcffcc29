"""The model card of exported weights: README.md with YAML front matter, as the hub reads it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from cyclopts import Parameter

from phenomae import checks
from phenomae.paths import PathLike
from phenomae.runs import KIND as RUN
from phenomae.signatures import SIGNATURE, read_signature, read_verified
from phenomae.weights.licence import NOTICE, Licence, join_licence
from phenomae.weights.public_sizes import Blueprint

RESULTS = "results"
_TAGS = ("phenomae", "microscopy", "cell-morphology", "high-content-screening")
_TASK = "image-feature-extraction"


@Parameter(name="*")
@dataclass(frozen=True)
class CardSettings:
    """What the model card (README.md) of exported weights says."""

    licence: str | None = None
    """Licence of the weights, by its name on the hub: apache-2.0, cc-by-nc-4.0, other. Default:
    that of imported weights, otherwise none is named."""
    results: PathLike | None = None
    """Results of `benchmark` on a map of these weights; its recall is written into the card."""

    def __post_init__(self) -> None:
        """Raise ValueError for a licence that is no word."""
        word = self.licence is None or (self.licence.isascii() and self.licence.isprintable())
        fits = word and " " not in (self.licence or "") and self.licence != ""
        checks.require(bool(fits), "licence", "one word, such as apache-2.0", repr(self.licence))


@dataclass(frozen=True)
class Scores:
    """The recall of results, and their identity."""

    recall: pl.DataFrame
    identity: str


def read_scores(results: PathLike | None) -> Scores | None:
    """Return recall of results, verified; raises ValueError if `results` are not results."""
    if results is None:
        return None
    folder = Path(results)
    signature = read_verified(folder, RESULTS)
    table = pl.read_csv(folder / "recall.csv", glob=False, schema_overrides={"source": pl.String})
    return Scores(table, signature["identity"])


def choose_licence(settings: CardSettings, named: Licence | None, source: Path) -> Licence | None:
    """Return the licence to write; raises ValueError if imported weights have another one."""
    given = settings.licence
    if given and named and given != named.get("license"):
        raise ValueError(
            f"{source} has the licence {join_licence(named)}, which licence={given} cannot "
            "replace: leave it out"
        )
    return named or ({"license": given} if given else None)


def write_card(
    source: Path,
    config: Mapping[str, Any],
    blueprint: Blueprint,
    licence: Licence | None,
    scores: Scores | None,
    own_class: bool,
) -> str:
    """Return the text of the model card; equal weights and settings give equal text."""
    from huggingface_hub import ModelCardData

    named: dict[str, Any] = {**(licence or {})}
    if len(ids := named.get("license", "").split(", ")) > 1:
        named["license"] = ids
    tags = [*_TAGS, blueprint.family, *(["custom_code"] if own_class else [])]
    data = ModelCardData(
        **named,
        library_name="phenomae",
        pipeline_tag=_TASK,
        tags=tags,
        model_name=blueprint.family if scores else None,
        eval_results=_evaluations(scores) if scores else None,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {blueprint.family} for microscopy images of cells",
        _describe(blueprint),
        _licence_line(licence, bool(config.get("notice")) and not own_class),
        "## Data",
        _table(_data(config, blueprint, source)),
        *_training(config, source),
        *_scores(scores),
        "## How to load",
        _how_to_load(own_class),
    ]
    return "\n\n".join(parts) + "\n"


def _describe(blueprint: Blueprint) -> str:
    settings = blueprint.settings
    return (
        f"Weights of a masked autoencoder for microscopy images of cells (family "
        f"`{blueprint.family}`): a vision transformer with {settings.depth} blocks of width "
        f"{settings.embed_dim}, {settings.num_heads} heads and patches of "
        f"{settings.patch_size} x {settings.patch_size} pixels. The embedding of a crop is the "
        "mean over its patch tokens; that of a well is the mean over its crops. Every channel of "
        "every crop is standardised inside the network."
    )


def _licence_line(licence: Licence | None, of_others: bool) -> str:
    text = join_licence(licence)
    line = f"Licence: {text}." if text else "No licence was named for these weights."
    return f"{line} Note: {NOTICE}." if of_others else line


def _data(config: Mapping[str, Any], blueprint: Blueprint, source: Path) -> dict[str, Any]:
    """Return the rows of the table on the training data, as far as they are recorded."""
    stores = config.get("store")
    settings = _run_settings(source)
    rows = {
        "stores (identities)": ", ".join(stores) if isinstance(stores, list) else stores,
        "channels, in order": ", ".join(blueprint.channels),
        "pixel size (micrometres)": config.get("pixel_size_um"),
        "intensity": config.get("intensity"),
        "fields": settings.get("where") or ("all of the stores" if settings else None),
        "weights of": config.get("source"),
        "revision": config.get("revision"),
        "SHA-256 of their file (first half)": config.get("source_hash"),
    }
    return {key: value for key, value in rows.items() if value is not None}


def _run_settings(source: Path) -> dict[str, Any]:
    """Return the settings that a run records; none for other weights."""
    if not (source / SIGNATURE).is_file():
        return {}
    signature = read_signature(source)
    return signature["settings"] if signature["kind"] == RUN else {}


def _training(config: Mapping[str, Any], source: Path) -> list[str]:
    settings = {**_run_settings(source), "trained_steps": config.get("steps")}
    rows = {key: value for key, value in sorted(settings.items()) if value is not None}
    if not rows:
        return []
    return ["## Training", _table(rows), f"Identity of the run: `{config.get('identity')}`."]


def _scores(scores: Scores | None) -> list[str]:
    if scores is None:
        return []
    heading = "| source | tails | recall | chance | pairs | genes |\n|---|---|---|---|---|---|"
    rows = [
        f"| {row['source']} | {row['low']:g}, {row['high']:g} | {row['recall']:.3f} | "
        f"{row['chance']:.3f} | {row['n_pairs']} | {row['n_genes']} |"
        for row in scores.recall.iter_rows(named=True)
        if row["recall"] is not None
    ]
    note = (
        "Recall of known relationships between genes in the tails of all pairwise cosines of a "
        f"map, by `phenomae benchmark` (results `{scores.identity}`)."
    )
    return ["## Scores", note, "\n".join([heading, *rows])]


def _evaluations(scores: Scores) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=_TASK,
            dataset_type=str(row["source"]),
            dataset_name=str(row["source"]),
            metric_type="recall",
            metric_name=f"recall of known pairs at {row['low']:g}, {row['high']:g}",
            metric_value=row["recall"],
        )
        for row in scores.recall.iter_rows(named=True)
        if row["recall"] is not None and not math.isnan(row["recall"])
    ]


def _how_to_load(own_class: bool) -> str:
    ours = (
        "With phenomae (`pip install 'phenomae[train]'`):\n\n"
        '```python\nimport phenomae\n\nmodel = phenomae.load_model("OWNER/NAME")  # or a folder\n'
        "embeddings = model.embed(pixels)  # (b, c, h, w): uint8, or floats from 0 to 1\n```\n\n"
        "`phenomae weights import OWNER/NAME WEIGHTS` and `phenomae embed STORE WEIGHTS WELLS` "
        "embed a whole screen."
    )
    theirs = (
        "With transformers alone, which runs the code of `modeling_phenomae.py`:\n\n"
        "```python\nfrom transformers import AutoModel\n\n"
        'model = AutoModel.from_pretrained("OWNER/NAME", trust_remote_code=True)\n'
        "embeddings = model(pixels).pooler_output\n```"
    )
    return f"{ours}\n\n{theirs}" if own_class else ours


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {key} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: Any) -> str:
    # A bar or a line break in a name would end the cell.
    return " ".join(str(value).split()).replace("|", "\\|")
