"""Evaluation of wells and maps: recall of known relationships, and the questions of `ask`."""
