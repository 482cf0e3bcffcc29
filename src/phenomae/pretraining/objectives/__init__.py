"""The training objectives: reconstructing masked patches, or classifying perturbations.

Every network class names its objective; the objective opens the data and computes the losses.
"""
