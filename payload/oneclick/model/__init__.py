"""The model file: found, checked, chosen, fetched."""
