"""One module for each thing a user can double-click."""
