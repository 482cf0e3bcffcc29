"""Looks on while an encoder is taught, with the rooms that come after."""
