"""The names that are nearest to each name of a map, and how sure that is."""
