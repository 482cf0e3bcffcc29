"""Files of known pairs: which are taken, which pairs of them can be asked."""

from hashlib import sha256

import polars as pl
import pytest

from phenomae.evaluation.annotations import (
    COMPLEXES,
    Annotation,
    hash_annotations,
    pairs_on_map,
    read_aliases,
    read_annotations,
    rename_genes,
    resolve_names,
    unknown_genes,
)
from phenomae.evaluation.fetch import FILES


def test_a_folder_gives_every_file_that_has_the_columns(tmp_path, capsys):
    (tmp_path / "CORUM.txt").write_text("entity1,entity2\nB,A\n")
    (tmp_path / "mine.csv").write_text('\ufeff"entity2",score,"entity1"\n A ,1,C\n')
    (tmp_path / "README.txt").write_text("What these files are, in words.\n")
    (tmp_path / "clusters.tsv").write_text("one\tB A\ntwo\tC D\n")
    (tmp_path / "notes.md").write_text("entity1,entity2\nB,A\n")
    sources = read_annotations(tmp_path)
    assert [source.name for source in sources] == ["CORUM", "mine"]
    assert sources[1].pairs.to_dicts() == [{"entity1": "C", "entity2": "A"}]
    assert "README.txt is skipped" in capsys.readouterr().err
    assert [source.name for source in read_annotations(tmp_path / "mine.csv")] == ["mine"]
    read_annotations(tmp_path)  # as commands that need the lists twice
    assert "is skipped" not in capsys.readouterr().err


def test_the_complexes_beside_the_public_lists_are_no_surprise(tmp_path, capsys):
    """`annotations fetch` writes them into the same folder, for another setting."""
    (tmp_path / "pairs.csv").write_text("entity1,entity2\nA,B\n")
    (tmp_path / COMPLEXES).write_text("first complex\tA B C\n")
    assert COMPLEXES in [file.name for file in FILES]
    assert [annotation.name for annotation in read_annotations(tmp_path)] == ["pairs"]
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="is not an annotation file"):
        read_annotations(tmp_path / COMPLEXES)


def test_the_hash_is_of_names_and_content(tmp_path):
    content = {"b": b"entity1,entity2\nB,A\n", "a": b"entity1,entity2\nC,A\n"}
    for name, lines in content.items():
        (tmp_path / f"{name}.csv").write_bytes(lines)
    found = read_annotations(tmp_path)
    sums = [f'"{name}":"{sha256(content[name]).hexdigest()[:32]}"' for name in "ab"]
    expected = sha256(f"{{{','.join(sums)}}}".encode()).hexdigest()[:32]
    assert hash_annotations(found) == hash_annotations(found[::-1]) == expected
    (tmp_path / "a.csv").rename(tmp_path / "c.csv")
    assert hash_annotations(read_annotations(tmp_path)) != expected


FORMS = {
    "plain.csv": "entity1,entity2\nA,B\nB,C\nA,C\nD,E\n",
    "capitals.csv": "Entity1,ENTITY2\nA,B\nB,C\nA,C\nD,E\n",
    "blanks.csv": "entity1 , entity2\n A,B \nB,C\n A , C\nD,E\n",
    "genes.csv": "gene_a,gene_b,score\nA,B,1\nB,C,2\nA,C,3\nD,E,4\n",
    "tabs.txt": "entity1\tentity2\nA\tB\nB\tC\nA\tC\nD\tE\n",
    "semicolons.csv": "weight;gene1;gene2\n0,5;A;B\n1;B;C\n1;A;C\n1;D;E\n",
    "sets.csv": "gene,complex\nA,x\nB,x\nC,x\nD,y\nE,y\nF,z\n,x\n",
    "sets.tsv": "Pathway\tsource\tGene\nx\t1\tA\nx\t1\tB\ny\t1\tD\nx\t1\tC\ny\t1\tE\n",
    "sets.gmt": "x\thttp://a\tA\tB\tC\n\ny\tna\tD\tE\t\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_lists_of_every_form_have_the_same_pairs(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name])
    for path in (tmp_path, tmp_path / name):
        (source,) = read_annotations(path)
        assert source.name == name.split(".")[0]
        assert pairs_on_map(source, list("ABCDE")).tolist() == [[0, 1], [0, 2], [1, 2], [3, 4]]


def test_a_list_in_utf_16_is_told(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("entity1,entity2\nA,B\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"it is UTF-16: save it as UTF-8"):
        read_annotations(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"has no .txt, .csv, .tsv, .gmt file whose first line"):
        read_annotations(tmp_path)
    assert "it is UTF-16: save it as UTF-8" in capsys.readouterr().err
    (tmp_path / "b.gmt").write_text("x A B\n")
    with pytest.raises(ValueError, match=r"b.gmt is no GMT file: expected name, tab, desc"):
        read_annotations(tmp_path / "b.gmt")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["1-Mar", "TP53"], "1-Mar is no gene name but what spreadsheets make of names such as"),
        (["2-Sep", "Dec-01", "1.Mrz", "2024-03-01"], "are no gene names .* (4 in all)"),
        (["01.03.2024"], "01.03.2024 is no gene name"),
        (["miR-21", "KLF-10", "CGI-58", "HLA-A", "NKX2-1", "MARCHF1", "SEPTIN2", "DEC1"], None),
    ],
)
def test_dates_that_spreadsheets_made_of_genes_are_told(tmp_path, capsys, names, told):
    rows = "".join(f"{name},MDM2\n" for name in names)
    (tmp_path / "a.csv").write_text("entity1,entity2\n" + rows)
    read_annotations(tmp_path)
    said = capsys.readouterr().err
    if told is None:
        assert said == ""
    else:
        start, _, rest = told.partition(" .* ")
        assert start in said
        assert rest in said


def test_pairs_are_unordered_once_each_and_on_the_map():
    listed = [("B", "A"), ("A", "B"), ("C", "C"), ("C", "X"), ("A", "C"), (None, "A")]
    table = pl.DataFrame(listed, schema=["entity1", "entity2"], orient="row")
    pairs = pairs_on_map(Annotation("s", table, ""), ["C", "B", "A"])
    assert pairs.tolist() == [[0, 2], [1, 2]]


def test_annotations_that_will_not_do(tmp_path):
    (tmp_path / "empty").mkdir()
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("left,right\nA,B\n")
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
        (wrong, "wrong.csv is not an annotation file: its first line must name entity1,entity2"),
        (ragged, r"ragged.csv is not a readable table: found more fields than"),
        (tmp_path / "empty", "has no .txt, .csv, .tsv, .gmt file whose first line names"),
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
