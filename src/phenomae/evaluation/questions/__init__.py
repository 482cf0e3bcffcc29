"""Tests of wells and maps beside recall: signal, replicates, complexes, compounds, mechanisms."""
