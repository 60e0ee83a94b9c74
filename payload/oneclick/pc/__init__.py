"""What PC this is, and what is wrong with it."""
