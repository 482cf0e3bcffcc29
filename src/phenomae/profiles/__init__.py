"""Turns profile tables of other software into wells: the command `import`."""
