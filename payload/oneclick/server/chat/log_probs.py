"""Log probabilities as OpenAI's two interfaces show them."""

from __future__ import annotations

from typing import Any, Sequence

from oneclick.server.chat.tokenizer import ChatTokenizer
from oneclick.server.events import Token


def of_chat(tokenizer: ChatTokenizer, tokens: Sequence[Token]) -> dict[str, Any]:
    """Return ``choices[].logprobs`` of a chat."""
    content = [
        {
            **_entry(tokenizer, token.token, token.log_prob or 0.0),
            "top_logprobs": [_entry(tokenizer, one, log_prob) for one, log_prob in token.likeliest],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(tokenizer: ChatTokenizer, token: int, log_prob: float) -> dict[str, Any]:
    data = tokenizer.token_bytes(token)
    return {"token": tokenizer.shown(token), "logprob": log_prob, "bytes": list(data) if data else None}


def of_text(tokenizer: ChatTokenizer, tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """Return ``choices[].logprobs`` of a plain completion, whose first token stands at character ``offset``."""
    shown = [tokenizer.shown(token.token) for token in tokens]
    offsets = []
    for text in shown:
        offsets.append(offset)
        offset += len(text)
    return {
        "tokens": shown,
        "token_logprobs": [token.log_prob for token in tokens],
        # Nothing comes before the first token of all.
        "top_logprobs": [
            {tokenizer.shown(one): log_prob for one, log_prob in reversed(token.likeliest)}
            if token.log_prob is not None
            else None
            for token in tokens
        ],
        "text_offset": offsets,
    }
