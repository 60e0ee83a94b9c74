"""From the original ChatGLM3 weights to a chatglm.cpp model file, on an ordinary PC."""

from bundle.model.quantize.convert import Quantized, quantize

__all__ = ["Quantized", "quantize"]
