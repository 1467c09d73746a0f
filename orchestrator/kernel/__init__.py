"""Decisions: pure and synchronous. What happened comes in, facts and acts come out."""
