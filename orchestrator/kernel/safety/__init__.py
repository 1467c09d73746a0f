"""The safety kernel: modes, breakers and pre-trade checks, as pure functions (SAFETY 3, 4, 6)."""
