# The public names, one per line, in the order of the pipeline: `from MODULE import NAME as NAME`.
# `__init__.py` reads these lines, so this file is the only list there is.
# ruff: noqa: I001

__version__: str

# Commands, their settings, and what they return.
from phenomae.simulation.simulate import simulate as simulate
from phenomae.simulation.simulate import SimulateSettings as SimulateSettings
from phenomae.simulation.simulate import SimulatedPlates as SimulatedPlates
from phenomae.store.ingest import ingest as ingest
from phenomae.store.inventory import IngestSettings as IngestSettings
from phenomae.store.check import check_store as check_store
from phenomae.store.read import Store as Store
from phenomae.explore.qc import qc as qc
from phenomae.quality.settings import QcSettings as QcSettings
from phenomae.explore.qc import QualityControl as QualityControl
from phenomae.pretraining.plan.plan import plan as plan
from phenomae.probes.commands import pretrain_vit_mae as pretrain_vit_mae
from phenomae.probes.commands import VitMaeSettings as VitMaeSettings
from phenomae.probes.commands import pretrain_channel_mae as pretrain_channel_mae
from phenomae.probes.commands import ChannelMaeSettings as ChannelMaeSettings
from phenomae.probes.commands import pretrain_energy_mae as pretrain_energy_mae
from phenomae.probes.commands import EnergyMaeSettings as EnergyMaeSettings
from phenomae.probes.commands import pretrain_unet_mae as pretrain_unet_mae
from phenomae.probes.commands import UnetMaeSettings as UnetMaeSettings
from phenomae.probes.commands import pretrain_classifier as pretrain_classifier
from phenomae.probes.commands import ClassifierSettings as ClassifierSettings
from phenomae.probes.commands import pretrain_vit_classifier as pretrain_vit_classifier
from phenomae.probes.commands import VitClassifierSettings as VitClassifierSettings
from phenomae.probes.recall import Recall as Recall
from phenomae.runs import Run as Run
from phenomae.models.cost.catalogue import list_models as list_models
from phenomae.weights.import_export import import_weights as import_weights
from phenomae.weights.import_export import export_weights as export_weights
from phenomae.weights.import_export import Weights as Weights
from phenomae.embedding.embed import embed as embed
from phenomae.embedding.embed import EmbedSettings as EmbedSettings
from phenomae.embedding.embed import BlockWells as BlockWells
from phenomae.embedding.features import features as features
from phenomae.embedding.features import FeaturesSettings as FeaturesSettings
from phenomae.wells import Wells as Wells
from phenomae.correction.correct import correct as correct
from phenomae.correction.settings import CorrectSettings as CorrectSettings
from phenomae.maps.map import map_wells as map_wells
from phenomae.maps.settings import MapSettings as MapSettings
from phenomae.maps.map import Map as Map
from phenomae.maps.export import export as export
from phenomae.maps.export import ExportSettings as ExportSettings
from phenomae.maps.export import Table as Table
from phenomae.evaluation.fetch import fetch_annotations as fetch_annotations
from phenomae.evaluation.fetch import Annotations as Annotations
from phenomae.evaluation.benchmark import benchmark as benchmark
from phenomae.evaluation.settings import BenchmarkSettings as BenchmarkSettings
from phenomae.evaluation.results import Results as Results
from phenomae.explore.ask import ask_signal as ask_signal
from phenomae.evaluation.questions.signal import SignalSettings as SignalSettings
from phenomae.explore.ask import ask_replicates as ask_replicates
from phenomae.evaluation.questions.precision_settings import PrecisionSettings as PrecisionSettings
from phenomae.explore.ask import ask_neighbours as ask_neighbours
from phenomae.evaluation.questions.nearest_replicates import NeighbourSettings as NeighbourSettings
from phenomae.explore.ask import ask_complexes as ask_complexes
from phenomae.evaluation.questions.complexes import ComplexSettings as ComplexSettings
from phenomae.explore.ask import ask_enrichment as ask_enrichment
from phenomae.evaluation.questions.enrichment import EnrichmentSettings as EnrichmentSettings
from phenomae.explore.ask import ask_compounds as ask_compounds
from phenomae.evaluation.questions.compounds import CompoundSettings as CompoundSettings
from phenomae.explore.ask import ask_mechanisms as ask_mechanisms
from phenomae.evaluation.questions.mechanisms import MechanismSettings as MechanismSettings
from phenomae.explore.ask import ask_probe as ask_probe
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings as LinearProbeSettings
from phenomae.explore.compare import compare as compare
from phenomae.explore.compare import CompareSettings as CompareSettings
from phenomae.explore.compare import Comparison as Comparison
from phenomae.explore.report import report as report
from phenomae.explore.report import ReportSettings as ReportSettings
from phenomae.explore.report import Report as Report
from phenomae.explore.check import check as check
from phenomae.studies.study import study as study
from phenomae.studies.results import StudySettings as StudySettings
from phenomae.studies.study import Study as Study

# Networks, corrections and files, without a command.
from phenomae.models.create import create_model as create_model
from phenomae.weights.load_model import load_model as load_model
from phenomae.correction.center_scale import CenterScale as CenterScale
from phenomae.correction.pca_center_scale import PcaCenterScale as PcaCenterScale
from phenomae.correction.tvn import TVN as TVN
from phenomae.correction.sphering import Sphering as Sphering
from phenomae.correction.harmony import Harmony as Harmony
from phenomae.recipe import read_recipe as read_recipe
from phenomae.store.read import open_store as open_store
from phenomae.wells import read_wells as read_wells
from phenomae.wells import write_wells as write_wells
from phenomae.maps.read import read_map as read_map
