"""Files of known pairs: which are taken, which pairs of them can be asked."""

import polars as pl
import pytest

from phenomae.evaluation.annotations import (
    Annotation,
    pairs_on_map,
    read_aliases,
    read_annotations,
    rename_genes,
    resolve_names,
    unknown_genes,
)


def test_a_folder_gives_every_file_that_has_the_columns(tmp_path, capsys):
    (tmp_path / "CORUM.txt").write_text("entity1,entity2\nB,A\n")
    (tmp_path / "mine.csv").write_text('\ufeff"entity2",score,"entity1"\n A ,1,C\n')
    (tmp_path / "README.txt").write_text("What these files are, in words.\n")
    (tmp_path / "clusters.tsv").write_text("entity1,entity2\nB,A\n")
    sources = read_annotations(tmp_path)
    assert [source.name for source in sources] == ["CORUM", "mine"]
    assert sources[1].pairs.to_dicts() == [{"entity1": "C", "entity2": "A"}]
    assert "README.txt is skipped" in capsys.readouterr().err
    assert [source.name for source in read_annotations(tmp_path / "mine.csv")] == ["mine"]


def test_pairs_are_unordered_once_each_and_on_the_map():
    listed = [("B", "A"), ("A", "B"), ("C", "C"), ("C", "X"), ("A", "C"), (None, "A")]
    table = pl.DataFrame(listed, schema=["entity1", "entity2"], orient="row")
    pairs = pairs_on_map(Annotation("s", table, ""), ["C", "B", "A"])
    assert pairs.tolist() == [[0, 2], [1, 2]]


def test_annotations_that_will_not_do(tmp_path):
    (tmp_path / "empty").mkdir()
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("gene1,gene2\nA,B\n")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("entity1,entity2\nA,B\nA,B,C,D\n")
    twins = tmp_path / "twins"
    twins.mkdir()
    for name in ("A.txt", "A.csv"):
        (twins / name).write_text("entity1,entity2\nA,B\n")
    pooled = tmp_path / "pooled"
    pooled.mkdir()
    (pooled / "all sources.txt").write_text("entity1,entity2\nA,B\n")
    for path, sentence in (
        (tmp_path / "absent", "there is no such file or folder of annotations"),
        (wrong, "wrong.csv is not an annotation file: its first line must be entity1,entity2"),
        (
            ragged,
            r"ragged.csv cannot be read as a CSV file: [^\n]* \(expected as many fields in",
        ),
        (tmp_path / "empty", "has no .txt or .csv file whose first line names"),
        (twins, "has two files for the source A"),
        (pooled, "all sources.txt: results call the known pairs of all .* no file may have this"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_annotations(path)


def test_aliases_are_resolved_on_the_map_and_in_the_lists(tmp_path):
    table = tmp_path / "aliases.csv"
    table.write_text("alias,gene,since\n p53 ,TP53,1979\nTRP53,TP53,\np53,TP53,\nK, ,\n")
    aliases = read_aliases(table)
    assert aliases == {"p53": "TP53", "TRP53": "TP53"}
    assert resolve_names(["MDM2", "p53"], aliases) == ["MDM2", "TP53"]
    source = Annotation("s", pl.DataFrame({"entity1": ["TRP53"], "entity2": ["MDM2"]}), "")
    assert rename_genes(source, aliases).pairs.rows() == [("TP53", "MDM2")]
    with pytest.raises(ValueError, match="give p53 and TP53 of the map the same name TP53"):
        resolve_names(["p53", "TP53"], aliases)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "aliases.csv: there is no such file of aliases"),
        (
            "alias,symbol\na,b\n",
            "aliases.csv lacks the columns gene: a table of aliases has alias, gene",
        ),
        ("alias,gene\na,B\na,C\n", "the alias a has two genes, B and C: keep one of them"),
    ],
)
def test_aliases_that_will_not_do(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "aliases.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_aliases(tmp_path / "aliases.csv")


def test_names_that_no_source_has_are_listed():
    table = pl.DataFrame({"entity1": ["A", None], "entity2": ["B", "C"]})
    assert unknown_genes([Annotation("s", table, "")], ["X", "C", "A", "K"]) == ["K", "X"]
