"""The command line: quick to help, one sentence for every mistake, flags before recipe."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest

import phenomae
from phenomae import cli, command_parser, shipped_recipes
from phenomae.command_parser import write_as_flags
from phenomae.commands import COMMANDS, GROUPS, is_command, overview
from phenomae.progress import info
from phenomae.wells import write_wells

RECIPES = sorted(shipped_recipes.RECIPES.glob("*.toml"))
EVERY = [(name,) for name in COMMANDS]
EVERY += [(group, name) for group, parts in GROUPS.items() for name in parts.table]
SEVERAL = pytest.mark.parametrize("command", EVERY, ids=" ".join)
PRINTING = (
    *(("models",), ("recipes",), ("plan",), ("info",), ("completion",)),
    *(("check",), ("store", "check"), ("nearest-crops",), ("napari",)),
)
CACHING = (("annotations", "fetch"),)  # what is there and whole stays
# One replaces labels, which is its work, and one commits to a repository, which keeps its history.
CHANGING = (("store", "relabel"), ("weights", "push"))
WRITING = [command for command in EVERY if command not in (*PRINTING, *CACHING, *CHANGING)]


def parse(*words: str, recipe: Path | None = None) -> dict:
    """Return what a command would be called with, without calling it."""
    return command_parser.parse(list(words), recipe)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command line that must fail; return its exit code and its sentence."""
    code = cli.run(list(words))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("phenomae: ")
    assert captured.err.count("\n") == 1
    assert not {"╭", "│", "Traceback"} & {*captured.err, *captured.err.split()}
    return code, captured.err


def test_import_and_help_load_no_torch_and_no_room():
    rooms = "simulation images store models weights crops pretraining embedding correction maps"
    rooms += " evaluation reporting probes devices"
    heavy = "torch polars numpy anndata tensorstore tifffile scipy matplotlib"
    names = [*heavy.split(), *(f"phenomae.{room}" for room in rooms.split())]
    for program in ("import phenomae", "from phenomae.cli import run; run(['--help'])"):
        code = f"import sys; {program}; print(sys.modules.keys() & {{*{names}}})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.endswith("set()\n"), done.stdout
        assert done.stderr == ""


def test_help_lists_every_command_in_under_a_quarter_of_a_second():
    """The processor's time, which a machine busy with other work does not stretch."""
    times = []
    for _ in range(5):
        begun = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "phenomae", "--help"], capture_output=True, text=True, check=True
        )
        ended = os.times()
        times.append(sum(ended[2:4]) - sum(begun[2:4]))  # of children: user and system
    assert 0 < min(times) < 0.25
    assert done.stdout == overview() + "\n"
    assert all(f"\n  {name} " in done.stdout for name in [*COMMANDS, *GROUPS])


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["--quiet", "--help"], ["--quiet"]])
def test_the_overview_is_shown_however_one_asks_for_it(words, capsys):
    assert cli.run(words) == 0
    assert capsys.readouterr() == (overview() + "\n", "")


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == "0.2.0\n"


@SEVERAL
def test_every_setting_of_a_command_has_its_help(command):
    app = command_parser.app
    for word in command:
        app = app[word]
    arguments = app.assemble_argument_collection(parse_docstring=True)
    assert len(arguments) > (command not in (("info",), ("completion",)))
    named = [item for item in arguments if item.name != "*"]  # settings are their fields
    assert [item.name for item in named if not item.parameter.help] == []


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_every_command_that_writes_takes_overwrite_and_refuses_what_it_does_not_know(
    command, capsys
):
    code, said = outcome(capsys, *command, "a", *_rest(command), "--overwritten")
    assert code == 2
    assert "--overwritten" in said
    assert "--overwrite?" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ingst"], "there is no command 'ingst': did you mean ingest?"),
        (["zzz"], "there is no command 'zzz': commands are simulate, ingest"),
        (["pretrain", "vit-mea"], "there is no command 'vit-mea': did you mean vit-mae?"),
        (["weights", "exprot"], "there is no command 'exprot': did you mean export?"),
        (["weights", "zzz"], "there is no command 'zzz': commands are import, export"),
        (["weights", "import", "SOURCE"], "OUT"),
        (["--overwrite", "ingest"], "there is no option '--overwrite' before the command"),
        (["ingest", "RAW", "STORE", "--bitz", "8"], "Unknown option: --bitz. Did you mean --bits?"),
        (["ingest", "RAW", "STORE", "--bits", "9"], 'Invalid value "9" for --bits'),
        (["ingest", "RAW", "STORE", "--workers", "two"], "--workers"),
        (["ingest", "RAW", "STORE", "--workers", "1.5"], 'unable to convert "1.5" into int'),
        (
            ["ask", "probe", "W", "A", "--folds", ".5"],
            'for --folds: unable to convert ".5" into int',
        ),
        (["ask", "signal", "W", "A", "--min-wells", "2.5"], 'unable to convert "2.5" into int'),
        (["embed", "S", "R", "W", "--turns", "1e-1"], "--turns"),
        (["study", "F", "OUT", "--seed", "0.1"], 'unable to convert "0.1" into int'),
        (["ingest", "RAW", "STORE", "MORE"], "MORE"),
        (["ingest", "RAW"], "STORE"),
        (["ingest"], "RAW"),
        (["benchmark", "MAP", "RESULTS"], "--annotations"),
        (["ingest", "RAW", "STORE", "--config"], "--config needs a file"),
        (["--config"], "--config needs a file"),
    ],
)
def test_a_wrong_command_line_ends_with_2(words, sentence, capsys):
    code, said = outcome(capsys, *words)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[ingest]\nbitz = 8\n", "there is no setting 'bitz': did you mean bits?"),
        ("bitz = 8\n", "there is no setting 'bitz': did you mean bits?"),
        ("[ingest]\nzzz = 8\n", "no setting 'zzz': phenomae ingest --help lists the settings"),
        ("[ingest]\nbits.a = 8\n", "there is no setting 'bits.a'"),
        ("[ingest]\nraw = 'RAW'\n", "there is no setting 'raw'"),
        ("[ingest]\nbits = 9\n", 'Invalid value "9" for [bits]'),
        ("[ingest]\nworkers = 'two'\n", 'Invalid value for [workers]'),
        ("[ingest]\nworkers = 1.5\n", 'unable to convert "1.5" into int'),
        ("[ingest]\nchannels = ['DNA']\n", 'Invalid value for [channels]'),
        ("[ingst]\nbits = 8\n", "[ingst] is not a command; commands are simulate, ingest"),
        ("[pretrain.vit-mea]\nsteps = 1\n", "[pretrain.vit-mea] is not a command; commands of"),
        ("[pretrain]\nsteps = 1\n", "[pretrain.steps] is not a command; commands of pretrain are"),
        ("[weights.exprot]\n", "is not a command; commands of weights are import, export"),
        ("weights = 8\n", "weights must be a table, like [weights]"),
        ("ingest = 8\n", "ingest must be a table, like [ingest]"),
        ("pretrain = 8\n", "pretrain must be a table, like [pretrain]"),
        ("bits: 8\n", "is not TOML"),
        ("bits = 8\nbits = 16\n", "is not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_ends_with_1_and_is_named(text, sentence, capsys, tmp_path):
    recipe = write(tmp_path / "r", text)
    code, said = outcome(capsys, "ingest", "RAW", "STORE", "--config", str(recipe))
    assert code == 1
    assert sentence in said
    assert str(recipe) in said


def test_recipes_that_cannot_be_read(capsys, tmp_path):
    command = ("ingest", "RAW", "STORE")
    code, said = outcome(capsys, *command, f"--config={tmp_path / 'absent.toml'}")
    assert (code, "absent.toml: there is no such recipe file" in said) == (1, True)
    code, said = outcome(capsys, *command, "--config", str(tmp_path))
    assert (code, f"{tmp_path}: Is a directory" in said) == (1, True)
    (tmp_path / "latin.toml").write_bytes(b'plate_name = "\xe9"')
    code, said = outcome(capsys, *command, "--config", str(tmp_path / "latin.toml"))
    assert (code, "latin.toml is not TOML" in said) == (1, True)


def test_a_wrong_flag_ends_with_2_also_beside_a_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a", "[ingest]\nbits = 8\n")  # a name that occurs in every sentence
    for flag in (["--bitz", "8"], ["--bits", "9"], ["MORE"]):
        assert outcome(capsys, "ingest", "RAW", "STORE", *flag, "--config", "a")[0] == 2


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_every_recipe_parses_for_every_command_it_has_a_table_for(recipe):
    tables = tomllib.loads(recipe.read_text())
    commands = [name for name in tables if is_command((name,))]
    parsed = [parse(name, "A", *_rest((name,)), recipe=recipe) for name in commands]
    for family in tables.get("pretrain", {}):
        parsed.append(parse("pretrain", family, "A", "B", recipe=recipe))
    assert parsed
    assert all("settings" in arguments for arguments in parsed)


def _rest(command: tuple[str, ...]) -> list[str]:
    """Return what a command needs beyond its first path."""
    wanted = {
        ("simulate",): "",
        ("report",): "",
        ("embed",): "B C",
        ("compare",): "B C",
        ("benchmark",): "B --annotations C",
        ("sweep",): "B --annotations C",
        ("ask", "complexes"): "B --complexes C",
        ("ask", "compounds"): "B C --potencies D",
        ("ask", "mechanisms"): "B --mechanisms C",
    }
    return wanted.get(command, "B").split()


def test_advice_on_memory_names_settings_that_the_command_has():
    commands = {
        "pretrain": parse("pretrain", "vit-mae", "S", "R", "--steps", "1"),
        "embed": parse("embed", "S", "R", "W", "--turns", "1"),
        "ingest": parse("ingest", "RAW", "STORE", "--bits", "8"),
    }
    for command, arguments in commands.items():
        advice = cli.LESS_MEMORY[command].replace(",", "").split()
        named = [word for word in advice if "_" in word or word == "workers"]
        assert named
        assert all(hasattr(arguments["settings"], name) for name in named), (command, named)
    assert cli.LESS_MEMORY["plan"] == cli.LESS_MEMORY["pretrain"]


def test_whole_numbers_may_have_a_point(tmp_path):
    words = ["ingest", "RAW", "STORE", "--workers", "2.0"]
    assert parse(*words)["settings"].workers == 2
    recipe = write(tmp_path / "r", "[ingest]\nworkers = 3.0\n")
    assert parse(*words[:3], recipe=recipe)["settings"].workers == 3


def test_a_pattern_may_begin_with_a_hyphen():
    for pattern in ("--W(?P<well>.)", "-*W", "-W"):
        words = ["ingest", "RAW", "STORE"]
        assert parse(*words, "--pattern", pattern, "--dry-run")["settings"].pattern == pattern
        assert parse(*words, f"--pattern={pattern}")["settings"].pattern == pattern


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ingest", "a", "b", "--channels", "--W"), "if --W is its value, write --channels=--W"),
        (("ingest", "a", "b", "--plate-name", "-x"), "if -x is its value, write --plate-name=-x"),
        (("features", "a", "b", "--where", "-x"), "if -x is its value, write --where=-x"),
    ],
)
def test_a_value_that_begins_with_a_hyphen_is_written_with_an_equals_sign(words, sentence, capsys):
    code, printed = outcome(capsys, *words)
    assert code == 2
    assert printed.endswith(f"{sentence}\n")
    assert parse(*words[:3], f"{words[3]}={words[4]}")["settings"]


def test_a_value_that_is_missing(capsys):
    code, printed = outcome(capsys, "ingest", "a", "b", "--channels")
    assert code == 2
    assert printed.endswith("--channels requires an argument.\n")


def test_flags_win_over_the_recipe_and_the_recipe_over_defaults(tmp_path):
    recipe = write(
        tmp_path / "recipe.toml",
        "[ingest]\nbits = 8\nworkers = 3\n[benchmark]\nannotations = 'P'\nlow = [0.1, 0.2]\n"
        "[pretrain.vit-mae]\nsteps = 7\nlr = 0.5\nbetas = [0.5, 0.6]\n",
    )
    found = parse("ingest", "RAW", "STORE", "--workers", "5", recipe=recipe)["settings"]
    assert (found.bits, found.workers, found.window_fields) == (8, 5, 32)
    found = parse("benchmark", "M", "R", "--high", "0.9", "0.8", recipe=recipe)["settings"]
    assert (found.annotations, found.low, found.high) == (Path("P"), (0.1, 0.2), (0.9, 0.8))
    found = parse("benchmark", "M", "R", "--low", "0.3", recipe=recipe)["settings"]
    assert found.low == (0.3,)
    found = parse("pretrain", "vit-mae", "S", "R", "--lr", "0.25", recipe=recipe)["settings"]
    assert (found.steps, found.lr, found.betas, found.warmup) == (7, 0.25, (0.5, 0.6), 0.1)
    assert "settings" not in parse("ingest", "RAW", "STORE")


def test_a_recipe_without_a_table_is_for_the_command_at_hand(tmp_path):
    recipe = write(tmp_path / "recipe.toml", "seed = 5\n")
    assert parse("simulate", "OUT", recipe=recipe)["settings"].seed == 5
    assert parse("pretrain", "vit-mae", "S", "R", recipe=recipe)["settings"].seed == 5


def test_a_recipe_has_tables_for_every_command_of_two_words(tmp_path):
    recipe = write(tmp_path / "recipe.toml", "[weights.import]\nchannels = 'DNA,ER'\n")
    assert parse("weights", "import", "S", "O", recipe=recipe)["channels"] == "DNA,ER"
    with pytest.raises(ValueError, match="has no settings for weights export: it is a recipe for"):
        parse("weights", "export", "S", "O", recipe=recipe)


def test_quiet_and_config_may_stand_anywhere(tmp_path, capsys):
    recipe = write(tmp_path / "recipe.toml", "[simulate]\ngenes = 1\n")
    for words in (
        ["--quiet", "simulate", "OUT", "--config", str(recipe)],
        ["--config", str(recipe), "simulate", "--quiet", "OUT"],
        ["simulate", f"--config={recipe}", "OUT"],
    ):
        code, said = outcome(capsys, *words)
        assert (code, "genes must be at least 2, not 1" in said) == (1, True)


def test_quiet_is_for_one_command_line(capsys):
    assert cli.run(["--quiet", "--version"]) == 0
    info("told")
    assert capsys.readouterr().err == "told\n"


def test_output_that_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "phenomae", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("phenomae: the disk is full")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("printed", ["table", "help"])
def test_a_reader_that_has_enough_is_told_nothing(tmp_path, printed):
    table = pl.DataFrame({"plate": "P1", "well": [f"A0{column}" for column in range(1, 9)]})
    table = table.with_columns(control=pl.Series([True, False] * 4), x=pl.Series(range(8)) ** 2)
    write_wells(tmp_path / "wells", table, ["x"])
    words = ["correct", str(tmp_path / "wells"), str(tmp_path / "out"), "--quiet", "--diagnose"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "phenomae", *(words if printed == "table" else ["--help"])],
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
    assert (tmp_path / "out").exists() == (printed == "table")


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_are_the_null_device(tmp_path, closed):
    table = pl.DataFrame({"plate": "P1", "well": [f"A0{column}" for column in range(1, 9)]})
    table = table.with_columns(control=pl.Series([True, False] * 4), x=pl.Series(range(8)) ** 2)
    write_wells(tmp_path / "wells", table, ["x"])
    line = f'exec "$0" -m phenomae correct "$1" "$2" --quiet {closed}'
    for name in ("closed", "open"):
        words = ["sh", "-c", line if name == "closed" else line.removesuffix(closed)]
        words += [sys.executable, str(tmp_path / "wells"), str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("closed", "open")
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("command", "message", "printed"),
    [
        (
            "ingest",
            "no column 'Plate' (setting plate_column)",
            "no column 'Plate' (--plate-column)",
        ),
        ("import", "say it (setting rows = sites or cells)", "say it (--rows sites or cells)"),
        ("pretrain vit-mae", "set pair_weight to 0.", "set --pair-weight to 0."),
        ("plan pretrain vit-mae", "lower crops_at_once", "lower --crops-at-once"),
        ("ask signal", "overwrite replaces it", "--overwrite replaces it"),
        ("ingest", "bits must be 8 or 16", "--bits must be 8 or 16"),
        # Settings of other commands, files, names and ordinary words stay.
        ("map", "lower crops_at_once", "lower crops_at_once"),
        ("ingest", "a/plate_map/b.csv, plate_map.csv", "a/plate_map/b.csv, plate_map.csv"),
        ("ingest", "no column 'plate_map'", "no column 'plate_map'"),
        ("ingest", "pages, workers and bits", "pages, workers and bits"),
        ("--help", "overwrite", "overwrite"),
        ("ask", "overwrite", "overwrite"),
    ],
)
def test_messages_name_flags_of_the_command(command, message, printed):
    assert write_as_flags([*command.split(), "IN", "OUT"], message) == printed


def test_what_is_printed_on_the_way_names_flags_too(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("Metadata_Plate,Metadata_Well,Metadata_Site,x\nP,A1,1,1\nP,A1,2,3\n")
    assert cli.run(["import", str(table), str(tmp_path / "wells")]) == 0
    assert "(2 rows of 1 well; --rows)" in capsys.readouterr().err
    phenomae.import_profiles(table, tmp_path / "again")
    assert "(2 rows of 1 well; setting rows)" in capsys.readouterr().err


def test_what_was_made_is_counted_when_a_command_ends(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("Metadata_Plate,Metadata_Well,Metadata_gene,x,y\nP,A1,a,1,2\nQ,A1,b,3,5\n")
    wells, map_path, exported = (tmp_path / name for name in ("wells", "map.h5ad", "map.csv"))
    for words, counts in (
        (("import", table, wells), f"{wells}: 2 plates, 2 wells, 2 features\n"),
        (("map", wells, map_path, "--through", "wells"), f"{map_path}: 2 rows, 2 features\n"),
        (("export", map_path, exported), f"{exported}: 2 rows, 2 features\n"),
    ):
        assert cli.run([str(word) for word in words]) == 0
        assert capsys.readouterr().err.endswith(counts)
    assert cli.run(["--quiet", "export", str(map_path), str(exported)]) == 0
    assert capsys.readouterr() == ("", "")
