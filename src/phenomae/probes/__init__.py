"""Measures the recall of known pairs of genes during training, and makes the `pretrain` commands.

Recall needs `embedding`, `correction`, `maps` and `evaluation`, which `pretraining` does not
import. The commands are here because they have the flags of recall.
"""
