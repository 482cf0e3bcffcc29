"""Clusters of the names of a map: how stable they are, and which known sets are in them."""
