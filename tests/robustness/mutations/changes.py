"""Random changes to files: each takes the bytes of a file and returns others, None to remove it."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

JUNK = (
    *("", " ", "nan", "-1", "0", "1e999", "99999999999999999999", "../../../etc/passwd", "/", "é"),
    *("\x00", "\ufeff", '"', "'", "<", "&#0;", "]]>", "TRUE", "A01", "Plate 1", "ſ", "=1+1", "\t"),
    *(
        ",",
        "1,2",
        "s3://",
        "https://",
        "file:///",
        "x" * 300,
        "[",
        "(?P<a>",
        "%s",
        "{}",
        "\\",
        "\n",
    ),
)
NO_IMAGES = (None, b"\xff", b"", "text", 1, {"path": "a.jp2"}, {"bytes": None}, [b"\xff"])
NAME = re.compile(r"[\w.+-]+")


def flip_bytes(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    reach = rng.choice([len(content), min(len(content), 200)])  # headers are met more often
    for _ in range(rng.choice([1, 3, 30])):
        changed[rng.randrange(reach)] = rng.randrange(256)
    return bytes(changed)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def blank(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + bytes(len(content[start : start + 40])) + content[start + 40 :]


def insert(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice([1, 16])) + content[at:]


def remove(rng: random.Random, content: bytes) -> None:
    return None


def drop_lines(rng: random.Random, content: bytes) -> bytes:
    share = rng.choice([0.1, 0.5])
    return b"".join(line for line in content.splitlines(True) if rng.random() > share)


def repeat_line(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(True)
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return b"".join(lines)


def swap_lines(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(True)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def replace_words(rng: random.Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice([1, 1, 4])):
        if not (words := list(NAME.finditer(text))):
            break
        word = rng.choice(words)
        new = rng.choice([rng.choice(JUNK), rng.choice(words)[0]])
        text = text[: word.start()] + new + text[word.end() :]
    return text.encode("utf-8", "surrogateescape")


def rename_column(rng: random.Random, content: bytes) -> bytes:
    head, newline, rest = content.partition(b"\n")
    names = head.split(b",")
    names[rng.randrange(len(names))] = rng.choice([b"", b"other", rng.choice(names)])
    return b",".join(names) + newline + rest


def drop_column(rng: random.Random, content: bytes) -> bytes:
    rows = [line.split(b",") for line in content.splitlines()]
    at = rng.randrange(len(rows[0])) if rows else 0
    return b"\n".join(b",".join(row[:at] + row[at + 1 :]) for row in rows) + b"\n"


def nest(rng: random.Random, content: bytes) -> bytes:
    """Return JSON so deep that its parser raises RecursionError."""
    depth = rng.choice([10, 5_000])
    return b'{"settings": ' + b"[" * depth + b"]" * depth + b"}"


def change_parquet(rng: random.Random, content: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(content))
    names, rows = table.column_names, rng.sample(range(len(table)), len(table) // 2)
    changed = rng.choice(
        [
            table.rename_columns([rng.choice([name, f"{name}2"]) for name in names]),
            table.take(rows),
            pa.concat_tables([table, table.slice(0, 2)]),
            table.drop_columns([rng.choice(names)]),
            table.set_column(0, "__key__", pa.array([rng.choice(JUNK)] * len(table))),
            table.set_column(1, "jp2", pa.array([rng.choice(NO_IMAGES)] * len(table))),
            table.set_column(1, "jp2", table["jp2"].combine_chunks().take(pa.array(rows * 2))),
        ]
    )
    sink = pa.BufferOutputStream()
    pq.write_table(changed, sink)
    return sink.getvalue().to_pybytes()


KEEPING = ("flip_bytes", "cut", "blank", "insert", "exchange")
"""Mutations after which the file is still there."""
BYTES = (flip_bytes, flip_bytes, cut, blank, insert, remove)
TEXT = (drop_lines, repeat_line, swap_lines, replace_words, replace_words, replace_words)
TABLE = (rename_column, drop_column)
MUTATIONS: dict[str, tuple[Callable[[random.Random, bytes], bytes | None], ...]] = {
    ".csv": (*BYTES[1:], *TEXT, *TABLE),
    ".parquet": (*BYTES, *[change_parquet] * 6),
    ".json": (*BYTES, *TEXT, nest),
    **dict.fromkeys((".txt", ".gmt", ".toml", ".jsonl", ".yaml"), (*BYTES, *TEXT)),
    **dict.fromkeys((".xml", ".mlf", ".mrf", ".mes", ".htd"), (*BYTES[1:], *TEXT)),
}


def mutate(rng: random.Random, raw: Path) -> list[tuple[str, Path]]:
    """Change a folder at random; return what was done to which file."""
    done: list[tuple[str, Path]] = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not (files := sorted(path for path in raw.rglob("*") if path.is_file())):
            break  # the only one was removed
        indices = [path for path in files if path.suffix.lower() in MUTATIONS]
        path = rng.choice(rng.choice([indices, files]) or files)
        content = path.read_bytes()
        kind = rng.choice([*MUTATIONS.get(path.suffix.lower(), BYTES), exchange, rename])
        if kind in (exchange, rename):
            kind(rng, path, rng.choice(files))
        elif content:
            try:
                new = kind(rng, content)
            except (pa.ArrowException, KeyError, IndexError, ValueError, OSError):  # changed before
                new = flip_bytes(rng, content)
            path.write_bytes(new) if new is not None else path.unlink()
        done.append((kind.__name__, path))
    return done


def exchange(rng: random.Random, one: Path, other: Path) -> None:
    """Let a file have the content of another: an image of another field, or no image at all."""
    if one != other:
        shutil.copy(other, one)


def rename(rng: random.Random, path: Path, other: Path) -> None:
    name = path.name.replace(rng.choice(path.name), rng.choice(["#", " ", "A", "0", "_"]), 1)
    path.rename(path.with_name(name))
