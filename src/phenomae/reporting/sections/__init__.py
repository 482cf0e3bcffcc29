"""The sections of the report page, one module per section with its texts, figure and table."""
