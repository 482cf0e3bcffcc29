"""The licence of published weights, as their model card names it."""

from pathlib import Path

import pytest

from phenomae.weights.licence import licence_line, read_licence


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
    assert read_licence(tmp_path) == licence


def test_what_always_holds_is_always_told():
    always = "the public channel-agnostic weights are for non-commercial use only, and phenomae"
    assert licence_line(None).startswith(f"licence: not named by their source; {always}")
    assert licence_line("mit").startswith(f"licence: mit; {always}")
