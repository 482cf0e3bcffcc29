"""The return value of `benchmark` and of the questions of `ask`: a folder of tables."""

from phenomae.outputs import TablesOutput


class Results(TablesOutput):
    """A folder of results: `tables` lists its tables, `to_polars("recall")` reads recall.csv."""
