"""The pretend venue: an exchange that speaks OANDA v20, its feeds and its server."""
