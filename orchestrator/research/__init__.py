"""Experiments on the whole house: the same System in virtual time."""
