"""Reads the XML of microscopes one element at a time, in memory that does not grow with the file.

The index of a large plate can have hundreds of megabytes; its parsed tree would take several times
as much memory.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError, XMLParser

_CHUNK = 1 << 16


@dataclass
class Element:
    """One element of an index. Names have no namespace, because it differs between versions."""

    name: str
    parent: str
    attributes: dict[str, str]
    outermost: dict[str, str]
    """The attributes of the document's root element."""
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)
    """The text of its child elements, by name."""
    units: dict[str, str] = field(default_factory=dict)
    """The attribute `Unit` of those children that have one."""

    def need(self, name: str) -> str:
        """Return the text of a child element; raises ValueError if it is missing or empty."""
        if not self.values.get(name):
            raise ValueError(f"it has no {name}: expected an element of that name in it")
        return self.values[name]

    def need_attribute(self, name: str) -> str:
        """Return an attribute; raises ValueError if it is missing or empty."""
        if not self.attributes.get(name):
            raise ValueError(f"it has no {name}: expected an attribute of that name")
        return self.attributes[name]


def read_elements(path: Path, root: str, names: Set[str]) -> Iterator[Element]:
    """Yield the elements with these names in document order, with their children's text.

    Raises ValueError if the file cannot be read, is truncated or not XML, if its root element is
    not `root`, or if it declares a document type.
    """
    target = _Target(root, names)
    parser = XMLParser(target=target)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                _feed(path, parser, chunk)
                yield from target.ready
                target.ready.clear()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    _feed(path, parser, None)


def _feed(path: Path, parser: XMLParser, chunk: bytes | None) -> None:
    """Pass the next bytes to the parser; None ends the document."""
    try:
        if chunk is None:
            parser.close()
        else:
            parser.feed(chunk)
    except ParseError as error:
        raise ValueError(f"{path} is truncated or not XML ({error}): copy it again") from None
    except (LookupError, ValueError) as error:  # an unknown encoding, or raised by _Target
        raise ValueError(f"{path} is not an index that can be read: {error}") from None


class _Target:
    """Receives the events of the parser and collects the requested elements in `ready`."""

    def __init__(self, root: str, names: Set[str]) -> None:
        self.ready: list[Element] = []
        self._root = root
        self._names = names
        self._path: list[str] = []
        self._texts: list[str] = []
        self._outermost: dict[str, str] = {}
        self._element: Element | None = None
        self._level = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        # A document type can define entities that expand to gigabytes or read local files.
        raise ValueError(f"it declares a document type (DOCTYPE {name}), which no microscope does")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        if not self._path and name != self._root:
            raise ValueError(f"its root element is {name}, expected {self._root}")
        if not self._path:
            self._outermost = _localize(attributes)
        elif self._element is None:
            if name in self._names:
                self._element = Element(
                    name, self._path[-1], _localize(attributes), self._outermost
                )
                self._level = len(self._path)
        elif "Unit" in attributes and len(self._path) == self._level + 1:
            self._element.units[name] = attributes["Unit"]
        self._path.append(name)
        self._texts.clear()

    def data(self, text: str) -> None:
        # Text arrives in pieces, split at entities and at the borders of chunks.
        if self._element is not None:
            self._texts.append(text)

    def end(self, tag: str) -> None:
        name = self._path.pop()
        if self._element is None:
            return
        deeper = len(self._path) - self._level
        if deeper == 1:
            self._element.values[name] = "".join(self._texts).strip()
        elif deeper == 0:
            self._element.text = "".join(self._texts).strip()
            self.ready.append(self._element)
            self._element = None
        self._texts.clear()

    def close(self) -> None:
        """Do nothing; XMLParser requires the method."""


def _localize(attributes: dict[str, str]) -> dict[str, str]:
    return {_local(key): value.strip() for key, value in attributes.items()}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
