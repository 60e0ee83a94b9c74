"""The finished archive, looked at from outside."""
