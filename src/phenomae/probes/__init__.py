"""Measures during training what needs the rooms above: the recall of known pairs of genes.

Here are also the `pretrain` commands, because they offer that measurement.
"""
