"""An order of ours: its name, its words to the venue, its life, and what the venue answered."""
