"""Pinned files from wherever they can be had, kept by digest."""
