"""Model files on the maintainer's machine."""
