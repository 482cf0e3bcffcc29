"""Parameter counts and FLOPs of networks."""
