"""Turns files with several pages into images: one for each channel, focal plane and time point.

A layout lists files. Whether they have several pages is seen in the first and the last file of each
channel of a plate, because opening all files of a screen twice would double the time to check it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from phenomae.cores import available_cores
from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.pixels.decode import read_stack
from phenomae.images.pixels.stack import Page, Stack
from phenomae.images.settings import LayoutSettings
from phenomae.images.threads import map_in_threads
from phenomae.progress import count_of, info, tracked

_Found = Mapping[Place, Stack | str]
"""The stack of each file, or what is wrong with the file."""

_PLAIN = (
    "an ImageJ stack that is no hyperstack: ImageJ calls its images slices whatever they are, and "
    "nothing names a channel (setting pages: channel, plane or time)"
)
_UNKNOWN = "pages and no metadata that say what they are (setting pages: channel, plane or time)"


def expand_stacks(listing: Listing, settings: LayoutSettings) -> Listing:
    """Return the listing with files of several pages replaced by their images.

    A channel has the name of the layout and, where a file has several channels, its name in the
    file. A file whose pages cannot be understood becomes a problem.

    Raises ValueError if neither the layout nor pages give channels.
    """
    groups = group_by_channel(listing.files)
    # In threads, because each file is a look at a disk or a download.
    have_stacks = map_in_threads(has_stacks, groups, available_cores())
    several = [group for group, has in zip(groups, have_stacks, strict=True) if has]
    _require_channels(groups, several)
    if not several:
        return listing
    found = _read_stacks([file.place for group in several for file in group], settings)
    files: dict[RawFile, list[RawFile]] = {}
    problems = list(listing.problems)
    for group in several:
        expanded, wrong = _expand_group(group, found)
        files |= expanded
        problems += wrong
    kept = [image for file in listing.files for image in files.get(file, [file])]
    return replace(listing, files=kept, problems=problems)


def group_by_channel(files: Sequence[RawFile]) -> list[list[RawFile]]:
    """Return the files of each channel of each plate."""
    groups: dict[tuple[str, str], list[RawFile]] = defaultdict(list)
    for file in files:
        groups[file.plate, file.channel].append(file)
    return list(groups.values())


def has_stacks(group: Sequence[RawFile]) -> bool:
    """Return whether the first or the last file of a channel has several pages."""
    ends = {group[0].place, group[-1].place}
    if any((place.row, place.page, place.channel, place.index) != (None,) * 4 for place in ends):
        return False
    return any(isinstance(found, Stack) and found.pages for found in map(_read_or_explain, ends))


def _require_channels(groups: Sequence[list[RawFile]], several: Sequence[list[RawFile]]) -> None:
    for group in groups:
        if not group[0].channel and group not in several:
            raise ValueError(
                f"nothing names the channel of {group[0].place}: the pattern has no group "
                "(?P<channel>...), and the file has not several pages"
            )


def _read_stacks(places: Sequence[Place], settings: LayoutSettings) -> _Found:
    """Return what the pages of files are, and print it."""
    unique = list(dict.fromkeys(places))
    read = map_in_threads(_read_or_explain, unique, available_cores())
    listed = tracked(read, "reading pages", len(unique), "files")
    found = {
        place: _apply(settings, stack) if isinstance(stack, Stack) else stack
        for place, stack in zip(unique, listed, strict=True)
    }
    kinds = Counter(_describe(stack) for stack in found.values() if isinstance(stack, Stack))
    for kind, count in kinds.items():
        info(f"{count_of(count, 'file')} with {kind}")
    return found


def _read_or_explain(place: Place) -> Stack | str:
    # Errors of the machine too: the check of all files that follows raises them.
    try:
        return read_stack(place)
    except (ValueError, OSError) as error:
        return str(error)


def _apply(settings: LayoutSettings, stack: Stack) -> Stack:
    """Return the stack, with the meaning of its pages that the setting `pages` gives."""
    meaning = settings.pages
    if meaning == "auto" or not stack.pages:
        return stack
    numbers = [page.number for page in stack.pages]
    return Stack(tuple(Page(number, **{meaning: i}) for i, number in enumerate(numbers)))


def _describe(stack: Stack) -> str:
    """Return what a file contains: `2 channels (DNA, ER), 3 planes`."""
    if stack.wrong or not stack.is_described:
        return f"{len(stack.pages)} pages without metadata that say what they are"
    if stack.is_plain:
        return f"{len(stack.pages)} slices, as ImageJ calls the images of any stack"
    names = f" ({', '.join(stack.channels)})" if stack.channels else ""
    counts = {
        f"channel{{}}{names}": stack.count("channel"),
        "plane{}": stack.count("plane"),
        "time point{}": stack.count("time"),
    }
    parts = [f"{n} {noun.format('s')}" for noun, n in counts.items() if n > 1]
    return ", ".join(parts) or "one image"


def _expand_group(
    group: Sequence[RawFile], found: _Found
) -> tuple[dict[RawFile, list[RawFile]], list[Problem]]:
    """Return the images of each file of a channel, and a problem per file without any."""
    files: dict[RawFile, list[RawFile]] = {}
    problems: list[Problem] = []
    stacks = [stack for file in group if isinstance(stack := found[file.place], Stack)]
    # Labels of ImageJ that differ between files are names of files, and not of channels.
    are_files = len({stack.channels for stack in stacks if stack.are_labels}) > 1
    for file in group:
        stack = found[file.place]
        if isinstance(stack, Stack) and stack.wrong:
            stack = f"{file.place} {stack.wrong}"
        elif isinstance(stack, Stack) and file.channel and not stack.is_described:
            stack = f"{file.place} has {len(stack.pages)} {_UNKNOWN}"
        elif isinstance(stack, Stack) and stack.is_plain and not file.channel:
            stack = f"{file.place} is {_PLAIN}"
        if isinstance(stack, str):
            problems.append(Problem(stack, file.plate, file.well, file.site))
            files[file] = []
        else:
            files[file] = _expand(file, replace(stack, channels=()) if are_files else stack)
    return files, problems


def _expand(file: RawFile, stack: Stack) -> list[RawFile]:
    """Return the images of a file."""
    if not stack.pages:
        return [replace(file, channel=file.channel or "1")]
    return [
        replace(
            file,
            channel=_name_channel(file, stack, page),
            place=replace(file.place, page=page.number),
            plane=page.plane + 1 if stack.count("plane") > 1 else file.plane,
            time=str(page.time + 1) if stack.count("time") > 1 else file.time,
        )
        for page in stack.pages
    ]


def _name_channel(file: RawFile, stack: Stack, page: Page) -> str:
    if file.channel and stack.count("channel") == 1:
        return file.channel
    name = stack.channels[page.channel] if stack.channels else str(page.channel + 1)
    return f"{file.channel} {name}".strip()
