"""What a maintainer wrote: the recipe, and the lock beside it."""
