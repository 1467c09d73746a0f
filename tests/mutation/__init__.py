"""Breaks the kernel in small ways, one at a time, and shows which no test notices."""
