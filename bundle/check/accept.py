"""The acceptance kit: does this archive, with this model file, do what the real ChatGLM3-6B is known to do?

Everything is asked of the double-clicked bundle itself. What cannot be known (the sentences of a model that nobody
published, a schema where the grammar library cannot load) is left out and said, never counted as passed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from bundle.check.golden import CONVERSATIONS, DTYPE, TOKENIZER_SHA256, Golden, ids_digest
from bundle.check.smoke import AWKWARD_FOLDER, Desktop, Started, desktop, double_clicked, lay_out
from bundle.errors import UsageError
from bundle.log import Log
from bundle.recipe.recipe import Recipe
from oneclick.errors import OneClickError
from oneclick.hashing import sha256_of
from oneclick.model.check import check_model, read_tokenizer
from oneclick.model.header import ModelHeader

PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"
SPEED_TOKENS = 32
ANSWER_LIMIT_S = 600
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["北京", "上海"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: str
    """``passed``, ``failed`` or ``left out``."""
    said: str = ""
    """What was seen, or why it was left out."""


@dataclass
class Report:
    """What the kit saw; becomes acceptance.json and acceptance.md."""

    archive: str
    archive_sha256: str
    model: str
    model_sha256: str
    dtype: str
    machine: str
    engine: str = ""
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    """Seconds, tokens a second and bytes, by name."""

    @property
    def exit_code(self) -> int:
        """0: everything passed; 1: something failed; 2: nothing failed, but not all could be known."""
        states = {check.state for check in self.checks}
        return 1 if FAILED in states else 2 if LEFT_OUT in states else 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    def markdown(self) -> str:
        """Return the report for people and for a release's page."""
        lines = ["# Acceptance", "", f"* archive: `{self.archive}`, sha256 `{self.archive_sha256}`"]
        lines += [f"* model: `{self.model}` ({self.dtype}), sha256 `{self.model_sha256}`", f"* engine: {self.engine}"]
        lines += [f"* machine: {self.machine}", "", "| check | | seen |", "|---|---|---|"]
        lines += [f"| {one.name} | {one.state} | {one.said.replace('|', '/')} |" for one in self.checks]
        lines += ["", "| figure | |", "|---|---|"]
        lines += [f"| {name} | {value:.3g} |" for name, value in self.figures.items()]
        return "\n".join(lines) + "\n"


def accept(model: Path, archive: Path, recipe: Recipe, log: Log) -> Report:
    """Try ``archive`` with ``model``. Raises SmokeFailed where it does not even start, UsageError for no model."""
    try:
        header = check_model(model)
    except OneClickError as error:
        raise UsageError(f"{model.name} is no model to try", why=str(error), do="give a whole model file") from error
    with log.step("Digests"):
        report = Report(
            archive.name, sha256_of(archive), model.name, sha256_of(model), header.dtype, platform.platform()
        )
    report.checks.append(_known_file(report.model_sha256, recipe))
    real = hashlib.sha256(read_tokenizer(model)).hexdigest() == TOKENIZER_SHA256
    with tempfile.TemporaryDirectory(prefix="accept-", ignore_cleanup_errors=True, dir=model.parent) as scratch:
        folder = lay_out(archive, Path(scratch) / AWKWARD_FOLDER, model)
        with desktop() as windows, double_clicked(folder, windows, log) as started:
            _ask_everything(Asker(started), windows, header, real, report)
    return report


def _known_file(sha256: str, recipe: Recipe) -> Check:
    known = [model.id for model in recipe.models if model.sha256 == sha256]
    if known:
        return Check("the file is one of the catalogue", PASSED, known[0])
    return Check("the file is one of the catalogue", LEFT_OUT, "its digest is nobody's")


class Asker:
    """Sends requests to the bundle, never through a proxy."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self._session = requests.Session()
        self._session.trust_env = False

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer's JSON; raises ValueError with the server's words for a refusal."""
        answer = self._session.post(self.started.base + path, json=body, timeout=ANSWER_LIMIT_S)
        told = dict(answer.json())
        if answer.status_code != 200:
            raise ValueError(told["error"]["message"].splitlines()[-1])
        return told

    def chat(self, messages: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return self.post("/v1/chat/completions", {"messages": list(messages), "temperature": 0, **more})

    def status(self) -> dict[str, Any]:
        return dict(self._session.get(self.started.base + "/status", timeout=30).json())


def _ask_everything(asker: Asker, windows: Desktop, header: ModelHeader, real: bool, report: Report) -> None:
    engine = asker.status()["engine"]
    report.engine = (
        f"chatglm_cpp {engine['version']} ({engine['level'] or 'one level'}; {', '.join(engine['features'])})"
    )
    for golden in CONVERSATIONS:
        report.checks += _conversation(asker, golden, header, real)
    report.checks += [
        _tried("an answer keeps a JSON schema", lambda: _schema(asker)),
        _tried("a call that is asked for comes", lambda: _call(asker)),
        _tried("the same seed gives the same answer", lambda: _seed(asker)),
        _tried("tokens come with their probabilities", lambda: _probabilities(asker)),
    ]
    report.figures = {"ready after the double-click, s": asker.started.ready_s, **_speed(asker)}
    memory = sum(_resident_bytes(pid) for pid in windows.processes())
    report.figures["memory of its programs, the mapped model included, MB"] = memory / 1e6


def _conversation(asker: Asker, golden: Golden, header: ModelHeader, real: bool) -> list[Check]:
    """Compare a conversation's ids and answer with what was published."""
    checks = []
    if golden.ids_sha256:
        name = f"{golden.name}: the prompt's tokens"
        if real:
            ids = asker.post("/tokenize", {"messages": list(golden.messages)})["tokens"]
            state = PASSED if ids_digest(ids) == golden.ids_sha256 else FAILED
            checks.append(Check(name, state, f"{len(ids)} tokens"))
        else:
            checks.append(Check(name, LEFT_OUT, "the file has another tokenizer than ChatGLM3"))
    if golden.answer:
        name = f"{golden.name}: the answer"
        if real and header.dtype == DTYPE:
            text = asker.chat(golden.messages, max_tokens=200)["choices"][0]["message"]["content"] or ""
            checks.append(Check(name, PASSED if golden.answer in text else FAILED, _one_line(text)))
        else:
            checks.append(Check(name, LEFT_OUT, f"published for the {DTYPE} file alone"))
    return checks


def _tried(name: str, act: Callable[[], str]) -> Check:
    """Return the check that ``act`` makes: what it returns was seen; AssertionError: failed; ValueError: refused."""
    try:
        return Check(name, PASSED, _one_line(act()))
    except AssertionError as error:
        return Check(name, FAILED, _one_line(str(error)))
    except ValueError as error:
        return Check(name, LEFT_OUT, _one_line(str(error)))


def _schema(asker: Asker) -> str:
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    asked = [{"role": "user", "content": "我想去北京玩三天。请用 JSON 写出 city 和 days。"}]
    return _trip(asker.chat(asked, response_format=form, max_tokens=200)["choices"][0]["message"]["content"])


def _call(asker: Asker) -> str:
    tools = [{"type": "function", "function": {"name": "plan_trip", "description": "安排旅行", "parameters": SCHEMA}}]
    asked = [{"role": "user", "content": "帮我安排去上海玩两天。"}]
    message = asker.chat(asked, tools=tools, tool_choice="required", max_tokens=200)["choices"][0]["message"]
    (call,) = message.get("tool_calls") or [None]
    _hold(call is not None, str(message))
    return _trip(call["function"]["arguments"])


def _trip(text: str) -> str:
    try:
        trip = json.loads(text)
    except ValueError as error:
        raise AssertionError(f"{error}: {text}") from error
    _hold(set(trip) == {"city", "days"} and trip["city"] in ("北京", "上海") and trip["days"] in range(1, 10), text)
    return text


def _seed(asker: Asker) -> str:
    asked = [{"role": "user", "content": "讲一个笑话。"}]
    answers = [
        asker.chat(asked, temperature=1.0, seed=7, max_tokens=24)["choices"][0]["message"]["content"] for _ in range(2)
    ]
    _hold(answers[0] == answers[1], " / ".join(answers))
    return str(answers[0])


def _probabilities(asker: Asker) -> str:
    asked = [{"role": "user", "content": "一加一等于几？"}]
    found = asker.chat(asked, logprobs=True, top_logprobs=3, max_tokens=4)["choices"][0]["logprobs"]["content"]
    _hold(all(one["logprob"] == one["top_logprobs"][0]["logprob"] <= 0 for one in found), str(found))
    return " ".join(f"{one['token']} {one['logprob']:.2f}" for one in found)


def _hold(true: bool, seen: str) -> None:
    if not true:
        raise AssertionError(seen)


def _speed(asker: Asker) -> dict[str, float]:
    """Return how fast a prompt of some hundred tokens is read and ``SPEED_TOKENS`` are written."""
    asked = [{"role": "user", "content": "请用三百字介绍一下杭州西湖的春夏秋冬。" * 8}]
    timings = asker.chat(asked, max_tokens=SPEED_TOKENS, cache_prompt=False)["timings"]
    return {
        f"first token after {timings['prompt_n']} tokens, s": timings["prompt_ms"] / 1000,
        "prompt, tokens/s": timings["prompt_per_second"] or 0.0,
        "answer, tokens/s": timings["predicted_per_second"] or 0.0,
    }


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
