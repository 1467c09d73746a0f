"""The audit trail outside the store: the signing key and the file of checkpoints."""
