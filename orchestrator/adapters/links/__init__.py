"""How a message reaches an agent in another process: a socket of this machine, or Redis."""
