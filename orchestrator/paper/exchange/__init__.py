"""Matching and accounting, pure and synchronous: requests and prices in, transactions out."""
