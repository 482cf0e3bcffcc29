"""The licence of published weights, as their model card names it."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from phenomae.weights.licence import join_licence, licence_line, read_licence


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (None, None),
        ("", None),
        ("# A model\nlicense: mit\n", None),
        ("---\ntags: [cells]\n---\nlicense: mit\n", None),
        ("---\nlicense: mit\n---\n# A model\n", "mit"),
        (
            "---\ntags:\n- cells\nlicense: other\nlicense_name: 'a name'\n"
            'license_link: "https://example.org/l"\n---\n',
            "other, a name, https://example.org/l",
        ),
        ("---\nlicense_link: LICENSE\nlicense: other\n---\n", "other, LICENSE"),
        ("---\nlicense:\n---\n", None),
        ("---\nlicense: \x1b[31mred\x07\n---\n", "[31mred"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        (f"---\nlicense: {'x' * 999}\n---\n", "x" * 200),
    ],
)
def test_the_front_matter_is_read(card: str | None, licence: str | None, tmp_path: Path):
    if card is not None:
        (tmp_path / "README.md").write_bytes(card.encode())
    assert join_licence(read_licence(tmp_path)) == licence


@pytest.mark.parametrize(
    "front",
    [
        "license: other\nlicense_link: https://example.org/l",
        "license: other\nlicense_name: cells, research only\nlicense_link: LICENSE.md",
        "license: cc-by-nc-4.0 # no commerce",
        "license: other # see\nlicense_name: 'cells # 1' # or not",
        "license: 'mit'\nlicense_link: https://example.org/l#2",
        "license_name: cells\nlicense: other\ntags:\n- mit",
    ],
)
def test_id_name_and_link_are_those_of_a_yaml_parser(front: str, tmp_path: Path):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# cells\n")
    data = ModelCard.load(tmp_path / "README.md").data.to_dict()
    expected = {key: value for key, value in data.items() if key.startswith("license")}
    assert read_licence(tmp_path) == expected


@pytest.mark.parametrize(
    "front",
    [
        "license: [mit, 'apache-2.0'] # both\ntags: [cells]",
        "license:\n- mit\n- apache-2.0 # too\ntags:\n- cells",
        'license: # both\n  - mit\n  - "apache-2.0"',
    ],
)
def test_a_list_of_licences_is_read(front: str, tmp_path: Path):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# cells\n")
    data = ModelCard.load(tmp_path / "README.md").data
    assert read_licence(tmp_path) == {"license": ", ".join(data.license)}


def test_what_always_holds_is_always_told():
    always = "the public channel-agnostic weights are for non-commercial use only, and phenomae"
    assert licence_line(None).startswith(f"licence: not named by their source; {always}")
    assert licence_line({"license": "mit"}).startswith(f"licence: mit; {always}")
