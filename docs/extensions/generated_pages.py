"""Parts of reStructuredText pages, and how a folder of generated pages is written."""

from pathlib import Path


def title(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def toctree(names: list[str]) -> list[str]:
    return [".. toctree::", "    :hidden:", "", *(f"    {name}" for name in names), ""]


def write_folder(folder: Path, pages: dict[str, str]) -> None:
    """Write the pages that changed, so that a second build reads only those; remove others."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
