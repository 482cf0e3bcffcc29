"""How the script of tables writes numbers, in a browser."""

import pytest

from phenomae.explorer.assets import read_asset

WRITTEN = {
    387_999.0: "387999",
    0.0: "0",
    1.0: "1",
    -17.0: "-17",
    0.123456: "0.123",
    -0.98765: "-0.988",
    12.3456: "12.3",
    0.00012345: "0.000123",
    0.000012345: "1.2e-5",
}


@pytest.mark.slow
def test_numbers_have_three_digits_and_counts_all_of_them(chromium):
    script = read_asset("table.js").replace("export function", "function")
    values = list(WRITTEN)
    page = chromium.new_page()
    show_all = f"(values) => {{{script}; return values.map((value) => show(value, 'number'))}}"
    shown = page.evaluate(show_all, [*values, None])
    page.close()
    assert shown == [*WRITTEN.values(), ""]
