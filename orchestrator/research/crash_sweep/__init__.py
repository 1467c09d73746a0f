"""Real processes, killed before and after each durable write and each send (SAFETY 8, 13)."""
