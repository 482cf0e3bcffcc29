"""Run by mantispy's interpreter: reads a table that phenomae exported, and writes it as .h5ad."""

import sys

import anndata
import mantispy
import numpy as np

table, annotated, folder = sys.argv[1:]
read = mantispy.io.read_profiles(table)
ours = anndata.read_h5ad(annotated)  # by the newest anndata
np.savez(
    f"{folder}/seen.npz",
    features=np.asarray(read.X),
    names=np.array(read.var_names, dtype=str),
    plate=np.array(read.obs["Metadata_Plate"], dtype=str),
    well=np.array(read.obs["Metadata_Well"], dtype=str),
    annotated=np.asarray(ours.X),
    compound=np.array(ours.obs["compound"], dtype=str),
)
mantispy.io.write(read, f"{folder}/of_mantispy.h5ad")
