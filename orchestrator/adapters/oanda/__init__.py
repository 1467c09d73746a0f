"""The OANDA v20 client: orders through the gate, reads, streams. Start at `client.OandaVenue`."""
