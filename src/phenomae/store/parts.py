"""Parts of an ingest that are each written by one process: plates, or fields of a large plate.

The parts depend on the raw plates and settings alone, so that all shards agree on them.
"""

from dataclasses import dataclass
from itertools import pairwise

from phenomae.store.inventory import Inventory

# Fields of a range at least. So many that the processes of a shard, which wait for each other at
# its end, lose a few percent; a 384-well plate of nine sites has 13 ranges.
_MIN_FIELDS = 256


@dataclass(frozen=True)
class Part:
    """A part of the work on one plate."""

    plate: str
    fields: range
    """Places of the fields that are written, among the fields of the plate."""
    is_whole: bool
    """Whether it writes the metadata of the plate, and its rows of the table of fields."""

    @property
    def name(self) -> str:
        """A name that can be a file name: that of the plate, if it is whole."""
        if self.is_whole:
            return self.plate
        # No plate begins with a dot. The range is in the name, so that an ingest which another
        # version began does not go on with ranges of other fields.
        return f".{self.plate}.{self.fields.start}-{self.fields.stop}"


def cut_plates(inventory: Inventory) -> dict[str, list[Part]]:
    """Return the parts of each plate; the last one is whole, and is written after the others.

    The last part of a plate in several parts has no fields of its own.
    """
    parts: dict[str, list[Part]] = {}
    for plate, fields in inventory.fields_of.items():
        ranges = _cut(len(fields))
        # Windows of pixels that are converted are needed before the first field is written, and
        # each part would decode the sampled fields again.
        if len(ranges) == 1 or inventory.dtype != inventory.raw_dtypes[plate]:
            parts[plate] = [Part(plate, range(len(fields)), True)]
        else:
            some = [Part(plate, places, False) for places in ranges]
            parts[plate] = [*some, Part(plate, range(0), True)]
    return parts


def _cut(count: int) -> list[range]:
    """Return ranges of almost equal length."""
    pieces = max(count // _MIN_FIELDS, 1)
    ends = [number * count // pieces for number in range(pieces + 1)]
    return [range(first, last) for first, last in pairwise(ends)]
