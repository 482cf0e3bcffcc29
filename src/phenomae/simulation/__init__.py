"""A simulated screen whose planted pairs of genes are known."""
