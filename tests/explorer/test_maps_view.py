"""Two maps side by side: ranks of scikit-learn, and the same tables in a browser."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from phenomae.evaluation.neighbors.overlap import compare_neighbors
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.other_map import SharedNames
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import ConsensusProfiles, read_map


def order_of(profiles: ConsensusProfiles, names: list[str], name: str) -> list[str]:
    """Return the other names by their distance from one, as scikit-learn has it."""
    features = profiles.features[[profiles.names.index(each) for each in names]]
    search = NearestNeighbors(n_neighbors=len(names), metric="cosine").fit(features)
    [order] = search.kneighbors(features[[names.index(name)]], return_distance=False)
    return [names[row] for row in order if names[row] != name]


def test_the_nearest_on_both_maps_are_those_of_scikit_learn(inputs, explored):
    maps = [read_map(explored.map), read_map(explored.other)]
    names = [name for name in maps[0].names if name in maps[1].names]
    assert len(names) == 10
    assert inputs.other is not None
    assert inputs.other.names == names
    for name in names:
        row = inputs.other.find(name)
        assert row is not None
        orders = [order_of(profiles, names, name) for profiles in maps]
        for side, table in enumerate(inputs.other.nearest(row, 4)):
            own, other = orders[side], orders[1 - side]
            assert table["neighbor"].to_list() == own[:4]
            assert table["other_rank"].to_list() == [1 + other.index(each) for each in own[:4]]
            assert table["both"].to_list() == [each in other[:4] for each in own[:4]]
            features = maps[side].features
            cosines = cosine_similarity(features)[maps[side].names.index(name)]
            wanted = [cosines[maps[side].names.index(each)] for each in own[:4]]
            np.testing.assert_allclose(table["cosine"], wanted, atol=1e-6)
    assert inputs.other.find("G011") is None


def test_the_overlap_is_that_of_the_shared_names(inputs):
    wanted = compare_neighbors(inputs.other.unit, inputs.other.other, 10)
    np.testing.assert_array_equal(inputs.other.overlap.jaccard, wanted.jaccard)
    assert inputs.other.overlap is inputs.other.overlap


def test_a_map_of_other_names_is_refused(inputs, explored, tmp_path):
    two = MapSettings(by="gene", where="gene IN ('G010', 'G011') OR control")
    map_wells(explored.wells, tmp_path / "two.h5ad", settings=two)
    with pytest.raises(ValueError, match=r"two\.h5ad has 2 names of the map: expected 3 or more"):
        Inputs.open(explored.map, compare=tmp_path / "two.h5ad")
    zero = ConsensusProfiles(
        inputs.names, np.zeros((12, 2), np.float32), inputs.on_map.profiles.obs, ""
    )
    with pytest.raises(ValueError, match="have no cosine"):
        SharedNames.of(inputs.names, inputs.finder.unit, tmp_path / "zero.h5ad", zero)


def test_rows_that_are_all_alike_agree_no_more_than_chance(tmp_path):
    names = [f"G{row:03d}" for row in range(400)]
    shared = SharedNames(tmp_path, names, np.ones((400, 1)), np.ones((400, 1)))
    both = [shared.nearest(row, 20)[0]["both"].sum() for row in range(40)]
    # Of 20 of 399 names, 1 is on another list of 20 by chance.
    assert np.mean(both) < 3


@pytest.mark.slow
def test_maps_in_a_browser(app, inputs, explored, visit, find_faults):
    page = visit(f"{app(inputs)}?view=maps")
    page.get_by_text("10 names are on both maps").wait_for()
    page.get_by_text("Search for a name:").wait_for()
    box = page.get_by_label("Search for")
    box.fill("G005")
    box.press("Enter")
    maps = [read_map(explored.map), read_map(explored.other)]
    names = [name for name in maps[0].names if name in maps[1].names]
    places = ("this map (map.h5ad)", "the other map (other.h5ad)")
    for profiles, place in zip(maps, places, strict=True):
        region = page.get_by_role("region", name=f"Nearest to G005 on {place}")
        region.wait_for()
        assert region.get_by_role("link").all_inner_texts() == order_of(profiles, names, "G005")[:5]
    page.get_by_text("The overlap of G005 is").wait_for()
    assert find_faults(page) == []
    link = page.get_by_role("region", name="Nearest to G005 on this map").get_by_role("link").first
    name = link.inner_text()
    link.click()
    page.get_by_role("region", name=f"Nearest to {name} on this map").wait_for()
    again = visit(page.url, width=400, dark=True)
    again.get_by_role("region", name=f"Nearest to {name} on this map").wait_for()
    assert find_faults(again) == []
    box.fill("G011")
    box.press("Enter")
    page.get_by_text("other.h5ad has no name G011.").wait_for()
