"""The pretend venue: an exchange that speaks OANDA v20, with feeds, books and a server of its own."""
