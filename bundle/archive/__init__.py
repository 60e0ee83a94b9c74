"""The 7z file: written, read, cut into volumes."""
