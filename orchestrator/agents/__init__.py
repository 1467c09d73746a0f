"""Opinions: the eight agents, each pure: it hears messages and says messages."""
