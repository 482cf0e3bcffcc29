"""What `benchmark`, `compare` and `ask` return: a folder of tables."""

from phenomae.outputs import TablesOutput


class Results(TablesOutput):
    """A folder of results: `tables` lists them, `to_polars("recall")` opens one."""
