"""Shows and compares results: the report page, the comparison of maps or runs, figures."""
