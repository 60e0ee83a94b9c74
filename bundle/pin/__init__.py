"""Making and checking the pins: digests of everything that a build takes."""
