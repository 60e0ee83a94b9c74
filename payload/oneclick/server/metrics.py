"""Counters of one run and their Prometheus text."""

from __future__ import annotations

from dataclasses import dataclass

from oneclick.server.events import Done


@dataclass
class Metrics:
    """Counted in the event loop's thread only."""

    requests: int = 0
    """Generations that ended well."""
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    """Turned away because the queue was full."""
    worker_exits: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    queue_s: float = 0.0
    prompt_s: float = 0.0
    generation_s: float = 0.0

    def count(self, done: Done, queue_s: float) -> None:
        """Add one finished generation."""
        if done.reason != "cancelled":
            self.requests += 1
        self.prompt_tokens += done.prompt_tokens
        self.cached_tokens += done.cached_tokens
        self.generated_tokens += done.generated_tokens
        self.queue_s += queue_s
        self.prompt_s += done.prompt_s
        self.generation_s += done.generation_s

    @property
    def mean_request_s(self) -> float:
        """How long a request held the engine on average; 0 before the first one."""
        return (self.prompt_s + self.generation_s) / self.requests if self.requests else 0.0

    def prometheus(self, ready: bool, running: int, waiting: int) -> str:
        """Return the text of /metrics. Format: https://prometheus.io/docs/instrumenting/exposition_formats/"""
        rows: list[tuple[str, str, str, float]] = [
            ("ready", "gauge", "1 when the model answers", int(ready)),
            ("requests_running", "gauge", "Requests being computed", running),
            ("requests_waiting", "gauge", "Requests in the queue", waiting),
            ("requests_total", "counter", "Requests answered", self.requests),
            ("requests_failed_total", "counter", "Requests the engine failed", self.failed),
            ("requests_cancelled_total", "counter", "Requests whose client went away", self.cancelled),
            ("requests_refused_total", "counter", "Requests refused for a full queue", self.refused),
            ("worker_exits_total", "counter", "Times the model worker ended unasked", self.worker_exits),
            ("prompt_tokens_total", "counter", "Prompt tokens of all requests", self.prompt_tokens),
            ("prompt_tokens_cached_total", "counter", "Prompt tokens kept in the KV cache", self.cached_tokens),
            ("generated_tokens_total", "counter", "Tokens generated", self.generated_tokens),
            ("queue_seconds_total", "counter", "Seconds spent waiting", self.queue_s),
            ("prompt_seconds_total", "counter", "Seconds spent on prompts", self.prompt_s),
            ("generation_seconds_total", "counter", "Seconds spent generating", self.generation_s),
        ]
        lines: list[str] = []
        for name, kind, text, value in rows:
            full = f"oneclick_{name}"
            lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value:.10g}"]
        return "\n".join(lines) + "\n"
