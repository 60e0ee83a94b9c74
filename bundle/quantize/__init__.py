"""From the original ChatGLM3 weights to a chatglm.cpp model file, on an ordinary PC."""
