"""Digests of the model files that others have published, made by upstream's convert.py from the original weights."""

from __future__ import annotations

from oneclick.model.header import ModelHeader

PUBLISHED = {
    "063592a0113e5f15d80303a21ce2aa3c7fd13b1b000fb91890cda4d2dc2467bc": "ChatGLM3-6B q4_0",
    "b73fd0133b72581818a8364eda0b847a392955ff456a7222f4d2a35e3c0c6871": "ChatGLM3-6B q4_1",
    "6695abcc2fbf74d460b61e78421d5d001ada97dd0bbb186bb9b8114edc85cf88": "ChatGLM3-6B q5_1",
    "f04f14181d99c4657c8b7b520f867d04c329dec0de3a3d38b595553399fc4ed8": "ChatGLM3-6B q8_0",
    "aa0a17a89682d3861fca986c8ff86ea107fdf86adaa14ff0c1f0310acb611199": "ChatGLM3-6B-32k q4_0",
    "6a45d796910568f0208310262eccb5563fa723888d6203921742781087a9a041": "ChatGLM3-6B-32k q4_1",
    "a12874b121614ac1b4bd1bab72328f500d37bec242608df72a855bb7b9f6402f": "ChatGLM3-6B-32k q5_1",
}
"""sha256 -> model. q4_0: three independent uploads agree; the others: one upload each (Hugging Face blob pages of
Xorbits/chatglm3-6B-GGML, danny320/chatglm3, Chars/chatglm3-ggml, Chars/chatglm3-32k-ggml, npc0/chatglm3-6b-int8)."""


def published_like(header: ModelHeader) -> dict[str, str]:
    """Return the published digests (sha256 -> model) of files that have this context and this type."""
    name = f"ChatGLM3-6B{'-32k' if header.sequence_length == 32768 else ''} {header.dtype}"
    return {sha256: model for sha256, model in PUBLISHED.items() if model == name and header.version == 1}
