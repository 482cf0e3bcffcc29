"""One module per microscope or data set layout: how its raw files lie on disk and are named."""
