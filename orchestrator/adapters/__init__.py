"""The world: all other I/O. Each adapter turns its driver's errors into ours."""
