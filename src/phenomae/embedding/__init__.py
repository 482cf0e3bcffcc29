"""Gives every well its vector."""
