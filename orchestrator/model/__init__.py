"""The words of the house: frozen messages, value types and ports. Imports nothing of ours."""
