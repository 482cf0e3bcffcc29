"""One module per network family: its settings and how it is trained."""
