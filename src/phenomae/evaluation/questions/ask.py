"""Builds the command and the Python function of a question of `ask` from its `Question`.

cyclopts reads the flags and the help of the command from the signature and docstring of the
function, so a new question needs no code here and none in the command line.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from inspect import Parameter, Signature, cleandoc
from pathlib import Path
from typing import Annotated, Any

from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import SUFFIXES
from phenomae.evaluation.baseline_inputs import Baseline
from phenomae.evaluation.questions.baselines import (
    answer_baselines,
    check_baselines,
    open_baselines,
    print_baselines,
)
from phenomae.evaluation.questions.question import Figure, Question, Tables
from phenomae.evaluation.results import Results
from phenomae.evaluation.settings import Several
from phenomae.paths import PathLike
from phenomae.print_table import read_written, show
from phenomae.progress import info
from phenomae.signatures import Origin, settings_dict
from phenomae.whole_files import hash_file, hash_json, write_bytes

KIND = "answer"
_BASELINE_HELP = (
    "{}, whose score is shown beside these: random-network, random-layer, spectra, intensity, "
    "count or position, for example. Several may be given."
)
Draw = Callable[[Figure, Path, Tables, list[Any], Any], None]
"""draw(figure, folder, tables, values of the inputs, settings) saves the figure in the folder."""


def build_command(question: Question, draw: Draw) -> Callable[..., Results]:
    """Build the function of a question: ask_NAME(*inputs, out, *, settings, overwrite).

    It has the keyword baseline too if the question has a score.
    """

    def command(
        *paths: PathLike,
        settings: Any = None,
        baseline: Sequence[str] = (),
        overwrite: bool = False,
    ) -> Results:
        # Python does not enforce `__signature__`, which only tools like cyclopts and help() read.
        if len(paths) != len(question.takes) + 1:
            raise TypeError(f"{command.__name__} takes {', '.join(names)}, not {len(paths)} paths")
        if baseline and question.score is None:
            raise TypeError(f"{command.__name__} takes no baseline")
        settings = question.settings() if settings is None else settings
        located = [Path(path) for path in paths]
        return answer(question, located, settings, overwrite, draw, baseline)

    names = [*(taken.name for taken in question.takes), "out"]
    signature = _signature(question, names)
    command.__name__ = command.__qualname__ = f"ask_{question.name}"
    command.__doc__ = _docstring(question)
    # typing.get_type_hints reads the annotations, not the signature.
    command.__annotations__ = {
        **{name: item.annotation for name, item in signature.parameters.items()},
        "return": Results,
    }
    command.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return command


def answer(
    question: Question,
    paths: list[Path],
    settings: Any,
    overwrite: bool,
    draw: Draw,
    baseline: Sequence[str] = (),
) -> Results:
    """Write the tables and the figure of a question into the last of `paths`; print one table.

    With baselines (NAME=PATH), also write and print what they score, and what was learned. Raises
    ValueError if the inputs cannot be used, or the printed table of an earlier call is damaged.
    """
    *sources, out = paths
    # Inputs are read even if `out` is finished: their identities decide whether it is up to date.
    values = [taken.read(path) for taken, path in zip(question.takes, sources, strict=True)]
    baselines = open_baselines(question, baseline, values, sources)
    origin = _origin(question, values, settings, baselines)
    # Features are not read for an answer that is there already.
    if overwrite or not out.exists():
        check_baselines(question, baselines, settings, sources[0])
    with artefact_folder(out, origin, overwrite, resume=False) as folder:
        if folder is not None:
            tables = question.tables(*values, *sources, settings)
            if baselines:
                tables |= answer_baselines(folder, question, tables, baselines, settings)
            for name, table in tables.items():
                write_bytes(folder / name, table.write_csv().encode())
            if question.figure is not None:
                draw(question.figure, folder, tables, values, settings)
    # Read back from disk, so that the output of an earlier identical call prints the same table.
    printed = read_written(out / question.printed)
    show(printed)
    if baselines:
        print_baselines(out, question)
    if question.figure and (drawn := out / "figures" / f"{question.figure.name}.png").exists():
        info(f"figure: {drawn}")
    if sentence := question.conclude(printed):
        info(sentence)
    return Results(out)


def _origin(
    question: Question, values: list[Any], settings: Any, baselines: dict[str, Baseline]
) -> Origin:
    """Return the origin of the output: question, settings, and the identities of the inputs.

    A file (or folder of lists) that a setting names is identified by content, not by path. Raises
    ValueError if it is missing.
    """
    plain = settings_dict(settings)
    sources: dict[str, str] = {}
    for taken, value in zip(question.takes, values, strict=True):
        several = isinstance(value.identity, dict)
        sources |= value.identity if several else {taken.name: value.identity}
    for name in question.files:
        if plain.pop(name) is None:
            continue
        sources[name] = _hash_files(Path(getattr(settings, name)), name)
    sources |= {f"baseline {name}": baseline.identity for name, baseline in baselines.items()}
    return Origin(KIND, {"question": question.name, **plain}, sources)


def _hash_files(path: Path, name: str) -> str:
    """Return the hash of a file, or of the lists of a folder with their names."""
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        raise ValueError(f"{path}: there is no such file ({name})")
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    return hash_json({file.name: hash_file(file) for file in files if file.is_file()})


def _signature(question: Question, names: list[str]) -> Signature:
    # No default for settings that have a required field, so that --help marks it as required.
    required = any(
        field.default is MISSING and field.default_factory is MISSING
        for field in fields(question.settings)
    )
    default = Parameter.empty if required else question.settings()
    keyword = Parameter.KEYWORD_ONLY
    parameters = [
        *(Parameter(name, Parameter.POSITIONAL_ONLY, annotation=PathLike) for name in names),
        Parameter("settings", keyword, annotation=question.settings, default=default),
    ]
    if question.score is not None:
        several = Annotated[tuple[str, ...], Several]
        parameters.append(Parameter("baseline", keyword, annotation=several, default=()))
    parameters.append(Parameter("overwrite", keyword, annotation=bool, default=False))
    return Signature(parameters, return_annotation=Results)


def _docstring(question: Question) -> str:
    described = [(taken.name, taken.help) for taken in question.takes]
    described.append(("out", "Folder to write."))
    if (baseline := question.takes[0].baseline) and question.score is not None:
        described.append(("baseline", _BASELINE_HELP.format(baseline.help)))
    described.append(("overwrite", "Replace `out` if it was made with other settings."))
    parameters = "\n".join(f"{name}\n    {help}" for name, help in described)
    return f"{cleandoc(question.help)}\n\nParameters\n----------\n{parameters}\n"
