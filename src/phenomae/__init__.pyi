# The public names, one per line, in the order of the pipeline: `from MODULE import NAME as NAME`.
# `__init__.py` reads these lines, so this file is the only list there is.
# ruff: noqa: I001

__version__: str

# Commands, their settings, and what they return.
from phenomae.simulation.simulate import simulate as simulate
from phenomae.simulation.simulate import SimulateSettings as SimulateSettings
from phenomae.store.ingest import ingest as ingest
from phenomae.store.ingest import IngestSettings as IngestSettings
from phenomae.store.read import Store as Store
from phenomae.embedding.embed import embed as embed
from phenomae.embedding.intensity import intensity as intensity
from phenomae.wells import Wells as Wells
from phenomae.correction.correct import correct as correct
from phenomae.maps.map import map_wells as map_wells
from phenomae.maps.export import export as export
from phenomae.evaluation.benchmark import benchmark as benchmark
from phenomae.explore.compare import compare as compare
from phenomae.explore.compare import CompareSettings as CompareSettings
from phenomae.explore.report import report as report
from phenomae.explore.report import ReportSettings as ReportSettings

# Files, read and written without a command.
from phenomae.recipe import read_recipe as read_recipe
from phenomae.store.read import open_store as open_store
from phenomae.wells import read_wells as read_wells
from phenomae.wells import write_wells as write_wells
from phenomae.maps.read import read_map as read_map
