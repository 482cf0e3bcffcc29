"""Recall of annotated gene pairs among all pairwise cosines, with bootstrap CI and p-values."""
