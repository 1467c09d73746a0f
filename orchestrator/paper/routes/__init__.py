"""What each path of the v20 API answers."""
