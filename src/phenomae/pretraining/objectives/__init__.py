"""What a network is trained to do: reconstruct hidden patches, classify perturbations."""
