"""A chat request on its way to tokens, and tokens on their way to an answer."""
