"""The command line: the service's face for a person at a terminal, and for scripts."""
