"""The bus over Redis (or Valkey): work streams, broadcast, history; imported when asked for."""
