"""Trains many networks and fits recall over training FLOPs: the scaling study of a screen."""
