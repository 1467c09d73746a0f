"""Drills: a bad day played on the user's own settings, in virtual time, ending in a report."""
