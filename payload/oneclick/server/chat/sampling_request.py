"""How a request wants its tokens chosen and where it wants them to end: what chats and plain completions share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from oneclick.engine.sampling import Sampling
from oneclick.server.api_errors import invalid
from oneclick.server.chat.body_text import JsonObject, clean
from oneclick.server.chat.values import boolean, number, whole

LONGEST_MODEL_NAME = 256
"""It stands in every chunk of the answer."""
MAX_CHOICES = 4
"""Answers to one request, computed one after the other."""
LARGEST_INT = 2**31 - 1
MOST_LIKELIEST = 20
"""Alternatives to each token, as OpenAI allows for chats."""
LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class SamplingRequest:
    """How to choose tokens and when to stop; what chat and plain completions share."""

    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    """Output tokens; None: as many as the server allows."""
    sampling: Sampling
    stop: tuple[str, ...]
    keep: bool
    """False: evaluate the whole prompt, whatever is kept of earlier ones (``cache_prompt``, as in llama.cpp)."""
    choices: int
    """How many answers to give (``n``)."""

    def sampling_of(self, choice: int) -> Sampling:
        """Return how the tokens of answer number ``choice`` are chosen: each has a seed of its own."""
        sampling = self.sampling
        return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + choice)


def model_name(body: JsonObject) -> str:
    """Return the model that ``body`` names, empty where it names none. Raises ApiError 400."""
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise invalid("server.type", "model", name="model", wanted="string")
    if model is not None and len(model) > LONGEST_MODEL_NAME:
        raise invalid("server.model_too_long", "model", limit=LONGEST_MODEL_NAME)
    return model or ""


def sampling_fields(body: JsonObject, log_probs: int | None, score_prompt: bool = False) -> dict[str, Any]:
    """Return the fields of a SamplingRequest. Raises ApiError 400."""
    stream_options = body.get("stream_options")
    if stream_options is not None and not isinstance(stream_options, dict):
        raise invalid("server.type", "stream_options", name="stream_options", wanted="object")
    lengths = [_answer_length(body, name) for name in ("max_completion_tokens", "max_tokens")]
    return {
        "model": clean(model_name(body)),
        "stream": boolean(body, "stream"),
        "include_usage": boolean(stream_options or {}, "include_usage", "stream_options.include_usage"),
        "max_tokens": lengths[0] or lengths[1],
        "sampling": _sampling(body, log_probs, score_prompt),
        "stop": _stop(body.get("stop")),
        "keep": body.get("cache_prompt") is None or boolean(body, "cache_prompt"),
        "choices": whole(body, "n", 1, MAX_CHOICES) or 1,
    }


def _sampling(body: JsonObject, log_probs: int | None, score_prompt: bool) -> Sampling:
    temperature = number(body, "temperature", 0.95, 0.0, 2.0)
    top_p = number(body, "top_p", 0.7, 0.0, 1.0)
    top_k = whole(body, "top_k", 0, LARGEST_INT) or 0
    sampled = body.get("do_sample") is None or boolean(body, "do_sample")  # Zhipu's word for temperature 0
    return Sampling(
        # Released engines take top_p 0 for "no filter"; a temperature this small only overflows their exponentials.
        greedy=temperature < 1e-3 or top_p < 1e-6 or top_k == 1 or not sampled,
        temperature=max(temperature, 1e-3),
        top_p=max(top_p, 1e-6),
        top_k=top_k,
        repetition_penalty=_repetition_penalty(body),
        min_p=number(body, "min_p", 0.0, 0.0, 1.0),
        frequency_penalty=number(body, "frequency_penalty", 0.0, -2.0, 2.0),
        presence_penalty=number(body, "presence_penalty", 0.0, -2.0, 2.0),
        logit_bias=_logit_bias(body.get("logit_bias")),
        seed=_seed(body),
        log_probs=log_probs,
        score_prompt=score_prompt,
    )


def _answer_length(body: JsonObject, name: str) -> int | None:
    """Return the longest answer in tokens; None for "as many as there are": null, 0, and llama.cpp's -1 and -2."""
    value = body.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and LARGEST_INT < value < math.inf:
        return LARGEST_INT  # whoever sends this means all of the context
    length = whole(body, name, -2, LARGEST_INT)
    return length if length is not None and length > 0 else None


def _repetition_penalty(body: JsonObject) -> float:
    """Return it under vLLM's name or llama.cpp's; 0, which both would refuse, is sent for "none"."""
    values = [number(body, name, 0.0, 0.0, 10.0) for name in ("repetition_penalty", "repeat_penalty")]
    return max(values[0] or values[1] or 1.0, 0.01)


def _logit_bias(value: Any) -> tuple[tuple[int, float], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise invalid("server.type", "logit_bias", name="logit_bias", wanted="object")
    found = []
    for token in value:
        bias = number(value, token, 0.0, -100.0, 100.0)
        if not bias:
            continue  # OpenAI's own tests send {"foo": 0}
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise invalid("server.bias_token", "logit_bias", token=token[:20])
        found.append((int(token), bias))
    return tuple(found)


def _seed(body: JsonObject) -> int | None:
    """Return the seed; None where there is none, or llama.cpp's -1 for "any"."""
    seed = whole(body, "seed", -LARGEST_SEED, LARGEST_SEED)
    return None if seed == -1 else seed


def chat_log_probs(body: JsonObject) -> int | None:
    most = whole(body, "top_logprobs", 0, MOST_LIKELIEST)
    if boolean(body, "logprobs"):
        return most or 0
    if most:
        raise invalid("server.top_logprobs", "top_logprobs")
    return None


def completion_log_probs(body: JsonObject) -> int | None:
    """Return what the older interface calls ``logprobs``: a number; true, which some clients send, is 0."""
    if isinstance(body.get("logprobs"), bool):
        return 0 if body["logprobs"] else None
    return whole(body, "logprobs", 0, MOST_LIKELIEST)


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(text is None or isinstance(text, str) for text in texts):
        raise invalid("server.stop", "stop")
    return tuple(dict.fromkeys(clean(text) for text in texts if text))
