"""Layouts: how the image files of each microscope or data set are recognised and listed."""
