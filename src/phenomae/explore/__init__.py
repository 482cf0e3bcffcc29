"""Lets a person look: report and app."""
