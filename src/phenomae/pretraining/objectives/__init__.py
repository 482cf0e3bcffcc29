"""What networks are trained for: reconstructing hidden patches, or classifying perturbations.

A network class names its objective; an objective opens the data that it needs.
"""
