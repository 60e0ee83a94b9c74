"""Which fields of OpenAI's requests do what here: done, refused by name, or ignored. docs/api.md shows these tables.

A field that would change what the answer means and is not done is refused; one that would not is ignored, and so is
every field of which nobody has heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping

from oneclick.server.api_errors import invalid


@dataclass(frozen=True)
class Field:
    """What is done about a field."""

    policy: str
    """``done``, ``refused`` or ``ignored``."""
    neutral: tuple[Any, ...] = ()
    """Values of a refused field that ask for nothing, besides null, false and whatever is empty."""


DONE = Field("done")
IGNORED = Field("ignored")
REFUSED = Field("refused")

Fields = Dict[str, Field]

_SAMPLING: Fields = {
    **dict.fromkeys(
        (
            *("model", "stream", "stream_options", "n", "stop", "cache_prompt"),
            *("max_tokens", "max_completion_tokens"),
            *("temperature", "top_p", "top_k", "min_p", "do_sample", "seed", "logit_bias"),
            *("repetition_penalty", "repeat_penalty", "presence_penalty", "frequency_penalty"),
        ),
        DONE,
    ),
    **dict.fromkeys(
        (
            *("user", "metadata", "store", "service_tier", "safety_identifier"),
            *("prompt_cache_key", "prompt_cache_retention", "prediction", "keep_alive", "id_slot", "samplers"),
        ),
        IGNORED,
    ),
    # vLLM's and llama.cpp's: constraints, and other ways to choose tokens.
    **dict.fromkeys(
        (
            *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
            *("grammar", "json_schema", "stop_token_ids", "bad_words", "ignore_eos", "use_beam_search"),
        ),
        REFUSED,
    ),
    **{name: Field("refused", (0,)) for name in ("min_tokens", "mirostat", "dry_multiplier", "xtc_probability")},
    **{name: Field("refused", (1,)) for name in ("length_penalty", "typical_p", "tfs_z")},
}

CHAT: Fields = {
    **_SAMPLING,
    **dict.fromkeys(
        (
            *("messages", "tools", "tool_choice", "functions", "function_call", "response_format"),
            *("continue_final_message", "add_generation_prompt", "logprobs", "top_logprobs"),
        ),
        DONE,
    ),
    **dict.fromkeys(
        (
            *("parallel_tool_calls", "reasoning_effort", "verbosity"),
            *("audio", "web_search_options", "chat_template_kwargs", "enable_thinking"),
        ),
        IGNORED,
    ),
    "modalities": Field("refused", (["text"],)),
    **dict.fromkeys(("chat_template", "documents"), REFUSED),
}
"""POST /v1/chat/completions."""

COMPLETION: Fields = {
    **_SAMPLING,
    **dict.fromkeys(("prompt", "echo", "best_of", "logprobs"), DONE),
    "suffix": REFUSED,
}
"""POST /v1/completions."""


def refuse(fields: Mapping[str, Field], body: Mapping[str, Any]) -> None:
    """Raise ApiError 400 for the first field of ``body`` that means something and is not done."""
    for name, value in body.items():
        field = fields.get(name)
        if field is not None and field.policy == "refused" and value and value not in field.neutral:
            raise invalid("server.unsupported", name, code="unsupported_parameter", name=name)
