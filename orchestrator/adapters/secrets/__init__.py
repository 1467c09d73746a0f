"""Where secrets come from beside the environment: HashiCorp Vault."""
