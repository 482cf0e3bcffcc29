"""Recall of annotated gene pairs, and precision at k, with bootstrap CI and p-values."""
