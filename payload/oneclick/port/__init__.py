"""A port of our own, and the browser that is sent there."""
