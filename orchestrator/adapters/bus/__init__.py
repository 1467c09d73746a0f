"""Broadcast of facts to whoever listens."""
