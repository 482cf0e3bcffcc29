"""From wells to guides to genes to a map. May not know the annotations."""
