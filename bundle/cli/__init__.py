"""The maintainer's command line."""
