"""Asks the map what biology already knows."""
