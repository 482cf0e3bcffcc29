"""Layouts: which files a microscope or data set leaves, and what each of them shows."""
