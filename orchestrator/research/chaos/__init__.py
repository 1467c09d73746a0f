"""The whole house in real processes, any of which dies at any time; judged by the venue's books."""
