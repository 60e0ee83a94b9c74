"""What grows in the staging folder, piece by piece."""
