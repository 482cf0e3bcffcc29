"""Takes the batch out and leaves the biology in."""
