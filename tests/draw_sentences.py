"""Draws thirty sentences from help, docs and docstrings, to be restated without the code at hand.

    python tests/draw_sentences.py --seed 7            # the sentences
    python tests/draw_sentences.py --seed 7 --where    # and where each stands

A reader who knows the field restates each sentence in other words. A sentence whose restatement is
wrong, or that cannot be restated, is written again. docs/log.md keeps lists and verdicts.
"""

import argparse
import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md")
LEFT_OUT = ("log.md",)  # a diary: past entries stay as they were written
MIN_WORDS = 6
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")
_NOT_PROSE = ("|", "#", "```", "    ", "![", "<")


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a paragraph that have enough words to mean something alone."""
    flat = " ".join(text.split()).lstrip("-* ")
    return [part for part in _END.split(flat) if len(part.split()) >= MIN_WORDS]


def sentences_of_page(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the sentences of a Markdown page; tables, headings and code are left out."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for paragraph in re.split(r"\n\s*\n|\n(?=[-*] )", prose):
        if not paragraph.startswith(_NOT_PROSE):
            for sentence in sentences_of(paragraph):
                yield sentence, str(path.relative_to(ROOT))


def sentences_of_module(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the sentences of docstrings, settings' own (the help of flags) included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                # Headings, rules and names of parameters are no prose.
                prose = re.sub(r"^ *(\w+|-{3,})$", "", text, flags=re.M)
                for paragraph in re.split(r"\n\s*\n", prose):
                    for sentence in sentences_of(paragraph):
                        yield sentence, f"{path.relative_to(ROOT)}:{node.lineno}"


def all_sentences() -> list[tuple[str, str]]:
    """Return every sentence once, with the place where it stands first, in a fixed order."""
    found: dict[str, str] = {}
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for page in pages:
        if page.name not in LEFT_OUT:
            for sentence, where in sentences_of_page(page):
                found.setdefault(sentence, where)
    for module in sorted((ROOT / "src").rglob("*.py")):
        for sentence, where in sentences_of_module(module):
            found.setdefault(sentence, where)
    return sorted(found.items())


def main() -> None:
    """Print the sentences drawn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--where", action="store_true", help="print where each stands, too")
    given = parser.parse_args()
    every = all_sentences()
    drawn = random.Random(given.seed).sample(every, given.count)
    print(f"{given.count} of {len(every)} sentences, seed {given.seed}\n")
    for number, (sentence, where) in enumerate(drawn, start=1):
        print(f"{number}. {sentence}" + (f"  [{where}]" if given.where else ""))


if __name__ == "__main__":
    main()
