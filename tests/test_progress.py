"""What is printed while a command runs."""

import contextlib
import time

import pytest

from phenomae import progress


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (45.67, "45.7"),
        (99.96, "100"),
        (378.4, "378"),
        (1324, "1,324"),
    ],
)
def test_numbers_have_three_digits_or_all_before_the_point(number: float, text: str):
    assert progress.format_number(number) == text


def test_one_of_a_thing_is_not_many():
    assert [progress.count_of(number, "plate") for number in (0, 1, 2, 1200)] == [
        "0 plates",
        "1 plate",
        "2 plates",
        "1,200 plates",
    ]


def test_a_line_of_progress_has_a_rate_that_can_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.track("embed", 50_000, "crops") as advance:
        advance(25_600)
    assert capsys.readouterr().err == "embed: 25600/50000 crops, 1,280/s, 0:19 left\n"


def test_a_block_can_be_silenced_and_what_was_before_comes_back(capsys: pytest.CaptureFixture[str]):
    before = progress.is_quiet()
    progress.set_quiet(False)
    try:
        with contextlib.suppress(KeyError), progress.silenced():
            progress.info("not printed")
            raise KeyError
        progress.info("printed")
        progress.set_quiet(True)
        with progress.silenced():
            pass
        assert progress.is_quiet()
    finally:
        progress.set_quiet(before)
    assert capsys.readouterr().err == "printed\n"


@pytest.mark.parametrize(("quiet", "expected"), [(False, "working\n"), (True, "")])
def test_long_work_is_announced(capsys, quiet: bool, expected: str):
    around = progress.silenced() if quiet else contextlib.nullcontext()
    with around, progress.announced("working", after_s=0.01):
        time.sleep(0.5)
    assert capsys.readouterr().err == expected


def test_short_work_is_not_announced(capsys):
    with progress.announced("working", after_s=0.2):
        pass
    with pytest.raises(ValueError, match="broken"), progress.announced("working", after_s=0.2):
        raise ValueError("broken")
    time.sleep(0.5)
    assert capsys.readouterr().err == ""
