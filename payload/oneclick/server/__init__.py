"""The local OpenAI-compatible server: an HTTP process that never blocks and a worker process that owns the model."""
