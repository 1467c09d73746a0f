"""The ledger: the venue's transactions become trades, orders, balance and what they are worth."""
