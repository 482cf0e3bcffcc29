"""One module per section of the report: what it needs, its text, figure and table."""
