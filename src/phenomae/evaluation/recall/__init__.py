"""Recall of annotated pairs from all pairwise cosines, with CI and p-values."""
