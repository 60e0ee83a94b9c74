"""The engine compiled for Windows on any machine."""
