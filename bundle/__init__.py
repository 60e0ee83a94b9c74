"""The builder: runs on a maintainer's machine and makes ``dist/ChatGLM3_cpp.7z``."""
