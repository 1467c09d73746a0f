"""Where alerts go so that a person sees them."""
