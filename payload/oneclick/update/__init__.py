"""From one release to the next, in place."""
