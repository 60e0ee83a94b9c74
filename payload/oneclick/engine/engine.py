"""The chatglm_cpp module behind one interface, whichever version or build of it a bundle holds.

What differs between 0.3.0, 0.3.4, 0.4.2 and our patched build is found by looking at the module itself, never at a
version number: our build names what it adds in ``chatglm_cpp._C.oneclick_features``.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Sequence

from oneclick.engine.constraint import Constraint
from oneclick.engine.sampling import FEATURE, Draw, Drawn, LogProb, Sampler, Sampling, log_probs
from oneclick.errors import OneClickError

FIXED_SCRATCH_TOKENS = 2048
"""Longest prompt one call may evaluate in 0.3.x: its scratch memory has a fixed size "for 2k context"
(``SCRATCH_SIZE`` in chatglm.h); beyond it the process dies in ggml."""


class Engine:
    """One loaded model. Only one thread may use it: there is one KV cache inside."""

    def __init__(self, module: Any, name: str | bytes, threads: int) -> None:
        """Load the model file ``name`` of the current folder.

        ``module`` is chatglm_cpp; ``threads`` 0 lets the engine choose. Raises RuntimeError as the engine does.
        """
        native = self._native = module._C
        # The native class, not chatglm_cpp.Pipeline: that one would try to convert a Hugging Face model (and import
        # torch) when it cannot find the file. From 0.4.0 on it takes the context length too; -1 means the model's own.
        extra = (-1,) if "max_length" in (native.Pipeline.__init__.__doc__ or "") else ()
        self._pipeline = native.Pipeline(name, *extra)
        self._model = self._pipeline.model
        self._threads = threads
        # 0.4.2 put the image of GLM-4V between the ids and the configuration.
        self._image = (None,) if "image" in (self._model.generate_next_token.__doc__ or "") else ()
        self.version: str = getattr(module, "__version__", "")
        self.features: frozenset[str] = frozenset(getattr(native, "oneclick_features", ()))
        self.max_length: int = self._model.config.max_length
        self.vocab_size: int = self._model.config.vocab_size
        self._samples = FEATURE in self.features
        self.chunked = "chunked_prefill" in self.features
        """Several tokens may be evaluated after a kept prefix; otherwise only one (the causal mask is missing)."""
        dynamic_memory = not hasattr(native.GenerationConfig(), "num_threads")  # 0.4.x dropped both together
        self.single_call_tokens = self.max_length if dynamic_memory else min(self.max_length, FIXED_SCRATCH_TOKENS)
        """Largest number of tokens one call may evaluate."""

    def evaluate(self, ids: Sequence[int], n_past: int) -> None:
        """Evaluate ``ids[n_past:]`` on top of the KV cache's first ``n_past`` positions.

        Raises RuntimeError where the engine finds NaN in its logits.
        """
        if self._samples:
            self._model.evaluate(ids, self._threads, n_past, len(ids))
        else:
            self._next_token(ids, n_past, self._config(Sampling()))

    def log_probs(self, token: int, most: int) -> tuple[float, list[LogProb]]:
        """Return what the last evaluation makes of ``token`` as the next one, and of the ``most`` likeliest."""
        return log_probs(self._model, token, most)

    def drawing(self, sampling: Sampling, prompt_tokens: int, constraint: Constraint | None = None) -> Draw:
        """Return what evaluates and draws token after token of one answer; it raises RuntimeError as ``evaluate`` does.

        Raises RuntimeError, too, for what this engine cannot do.
        """
        if self._samples:
            return Sampler(self._native, self._model, self._threads, sampling, prompt_tokens, constraint).draw
        lacking = sampling.beyond_release()
        if lacking:
            raise RuntimeError(f"this engine has no {', '.join(lacking)}")
        config = self._config(sampling)
        return lambda ids, n_past: Drawn(self._next_token(ids, n_past, config))

    def _next_token(self, ids: Sequence[int], n_past: int, config: Any) -> int:
        token: int = self._model.generate_next_token(ids, *self._image, config, n_past, len(ids))
        return token

    def _config(self, sampling: Sampling) -> Any:
        config = self._native.GenerationConfig()
        config.max_length = self.max_length
        config.do_sample = not sampling.greedy
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        config.top_k = sampling.top_k
        config.repetition_penalty = sampling.repetition_penalty
        if hasattr(config, "num_threads"):
            config.num_threads = self._threads
        return config


def import_engine(folder: str, dll_folders: Sequence[str]) -> Any:
    """Import chatglm_cpp from ``folder`` (empty: wherever Python finds it) and return the module."""
    if folder:
        sys.path.insert(0, folder)
    if sys.platform == "win32":
        for dll_folder in [*dll_folders, *([str(Path(folder, "chatglm_cpp"))] if folder else [])]:
            if Path(dll_folder).is_dir():
                os.add_dll_directory(dll_folder)
    return importlib.import_module("chatglm_cpp")


def loadable_name(name: str, features: Sequence[str]) -> str | bytes:
    """Return ``name`` as the engine's narrow ``open()`` finds it in the current folder.

    Python hands UTF-8 to the engine, whose C library reads it in the ANSI code page: on a Chinese Windows any name
    outside ASCII is another file. Our build opens wide names; else the code page's own bytes or the 8.3 name help.
    Raises OneClickError ``server.model_name`` when neither exists.
    """
    if name.isascii() or "wide_path" in features:
        return name
    if sys.platform == "win32":
        import ctypes

        encoded = name.encode("mbcs", "replace")
        if encoded.decode("mbcs", "replace") == name:
            return encoded
        short = ctypes.create_unicode_buffer(260)
        if ctypes.windll.kernel32.GetShortPathNameW(name, short, 260) and short.value.isascii():
            return short.value
        raise OneClickError("server.model_name", name=name)
    return name
