"""The process that owns the model, and what starts and watches it."""
