"""Draws a screen whose truth is known."""
