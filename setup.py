"""The description for a package index: README.md with links that work outside the repository.

Everything else is in pyproject.toml. Relative links lead nowhere on an index. If [project.urls] has
a Repository, links and pictures lead there; without one they become text, because nothing public
has the pages.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)]+)\)", re.DOTALL)
NOTE = "\n\nThe pages and pictures that are named here are in the source distribution.\n"


def describe(text: str, repository: str | None, version: str) -> str:
    """Return the text of README.md with absolute links, or without relative ones."""

    def rewrite(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if repository is not None:
            kind = "raw" if picture else "blob"
            return f"{picture}[{words}]({repository.rstrip('/')}/{kind}/v{version}/{target})"
        return f"*Figure ({target}): {words}.*" if picture else words

    changed = LINK.sub(rewrite, text)
    return changed if repository is not None else changed.rstrip() + NOTE


if __name__ == "__main__":
    from setuptools import setup

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=describe(readme, project["urls"].get("Repository"), project["version"]),
        long_description_content_type="text/markdown",
    )
