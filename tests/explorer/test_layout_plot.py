"""The points of the layout in the colors of their clusters."""

import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import polars as pl
import pytest

from phenomae.evaluation.clusters.clusters import ClustersSettings, clusters
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.layout_plot import build_layout
from phenomae.explorer.state import State
from phenomae.explorer.view import Session


@pytest.fixture(scope="module")
def of_map(explored, tmp_path_factory):
    """Clusters of the small screen's map."""
    out = tmp_path_factory.mktemp("clusters") / "out"
    settings = ClustersSettings(n_neighbors=4, resolution=2.0, seeds=2)
    clusters(explored.map, out, settings=settings)
    return out


def test_points_have_the_color_of_their_cluster(explored, of_map):
    inputs = Inputs.open(explored.map, clusters=of_map)
    column = build_layout(Session(inputs, State(), ThreadPoolExecutor(1)))
    shown = column[0].object.renderers[0].data_source.data
    table = pl.read_csv(of_map / "clusters.csv", schema_overrides={"name": pl.String})
    assert dict(zip(shown["name"], shown["cluster"], strict=True)) == dict(
        table["name", "cluster"].iter_rows()
    )
    colors = defaultdict(set)
    for cluster, color in zip(shown["cluster"], shown["color"], strict=True):
        colors[cluster].add(color)
    assert len(colors) > 1
    assert [len(its) for its in colors.values()] == [1] * len(colors)
    assert len(set.union(*colors.values())) == len(colors)


def test_the_name_is_on_the_side_with_more_space(inputs):
    state = State()
    column = build_layout(Session(inputs, state, ThreadPoolExecutor(1)))
    across = inputs.layout.points[:, 0]
    marked = column[0].object.renderers[1].data_source
    sides = ((across.argmax(), "right", (-99, 0)), (across.argmin(), "left", (0, 99)))
    for end, align, shifts in sides:
        state.row = inputs.names[end]
        assert marked.data["name"][-1] == state.row
        assert marked.data["align"][-1] == align
        assert shifts[0] < marked.data["shift"][-1] < shifts[1]


def test_the_saved_figure_has_a_panel_of_clusters(app, explored, of_map):
    address = app(Inputs.open(explored.map, clusters=of_map))
    with urllib.request.urlopen(f"{address}figures/layout.svg?row=G005") as answer:
        root = ElementTree.fromstring(answer.read())
    assert "Clusters" in set(root.itertext())


def test_clusters_of_another_map_are_refused(explored, of_map):
    with pytest.raises(ValueError, match="has clusters of another map: give those of this map"):
        Inputs.open(explored.other, clusters=of_map)
