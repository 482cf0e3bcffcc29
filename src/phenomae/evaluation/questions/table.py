"""Registers the questions of `ask` as strings, so that `--help` lists them without imports.

To add a question, write a module with a `QUESTION` (see `question.py`) and add its entry here.
"""

_ROOM = "phenomae.evaluation.questions"

# The help lines are repeated here, because importing a question would import numpy and polars.
QUESTIONS: dict[str, tuple[str, str]] = {
    "signal": (
        f"{_ROOM}.signal:QUESTION",
        "Does a perturbation have an effect? Consistency, magnitude.",
    ),
    "replicates": (
        f"{_ROOM}.replicate_retrieval:QUESTION",
        "Do replicates retrieve each other? Mean average precision.",
    ),
    "neighbours": (
        f"{_ROOM}.nearest_replicates:QUESTION",
        "Is the nearest neighbour of a well a replicate? Rate by tier.",
    ),
    "complexes": (
        f"{_ROOM}.complexes:QUESTION",
        "Are the genes of a complex similar? Cosines within and between.",
    ),
    "enrichment": (
        f"{_ROOM}.enrichment:QUESTION",
        "Are known pairs enriched among similar pairs? Odds ratios.",
    ),
    "compounds": (
        f"{_ROOM}.compounds:QUESTION",
        "Does a compound resemble the genes it acts on? Average precision.",
    ),
    "mechanisms": (
        f"{_ROOM}.mechanisms:QUESTION",
        "Do nearest neighbours share a mechanism? NSC and NSCB accuracy.",
    ),
    "probe": (
        f"{_ROOM}.block_search:QUESTION",
        "Which block classifies unseen batches best? Linear probe.",
    ),
}
"""For each command of `ask`: "module:name" of its `Question`, and its line in `ask --help`."""


def ask_commands() -> dict[str, tuple[str, str]]:
    """Return for each command of `ask` its function as "module:function", and its line of help.

    The functions are built when they are first looked up (`phenomae.reporting.ask`).
    """
    return {
        name: (f"phenomae.reporting.ask:ask_{name}", line) for name, (_, line) in QUESTIONS.items()
    }
