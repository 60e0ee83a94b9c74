"""From messages to the ids the model reads: ChatGLM3's template, what fits, and what had to go.

A prompt is ``[gMASK] sop`` and then, for each message, ``<|role|>``, a line break and the text; ``<|assistant|>`` at
the end asks for the answer. When a conversation outgrows the context its oldest whole turns are left out: a turn is a
user's message with everything up to the next one. Tools, the system messages at the start and the newest turn always
stay; a later system message goes with the turn it belongs to.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Mapping, Sequence

from oneclick.server.api_errors import invalid
from oneclick.server.chat import tools
from oneclick.server.chat.request import ChatRequest, CompletionRequest, Message
from oneclick.server.chat.tokenizer import ChatTokenizer

_ALWAYS = -1
"""Turn number of messages that are never dropped."""
_DROP_STEPS = 4
"""Old turns are dropped in steps of this fraction of the context: with one turn at a time, every further message
would begin the prompt differently and the engine would have to evaluate all of it again."""


class Answers:
    """The ids the model really produced for recent answers.

    Text encoded again often gives other ids than those it was generated with. Using the real ones lets the engine
    recognise its own answer in the next turn's prompt instead of evaluating it again.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    def remember(self, text: str, ids: Sequence[int]) -> None:
        """``ids`` followed ``<|assistant|>`` and read as ``text``."""
        key = text.strip()
        if key:
            self._ids[key] = tuple(ids)
            self._ids.move_to_end(key)
            while len(self._ids) > self._limit:
                self._ids.popitem(last=False)

    def find(self, text: str) -> tuple[int, ...] | None:
        """Return the ids of an answer a client sends back."""
        return self._ids.get(text.strip())


@dataclass(frozen=True)
class Prompt:
    """What the model will read."""

    ids: list[int]
    max_new: int
    dropped_messages: int = 0
    dropped_tokens: int = 0
    added: int = 0
    """So many ids at the start of a plain completion are ours, not the client's."""
    begun: tuple[int, ...] = ()
    """What the answer to go on with consists of so far; the end of ``ids``."""


@dataclass(frozen=True)
class Limits:
    """Sizes in tokens."""

    context: int
    """Prompt and answer together."""
    prompt: int
    """The prompt alone."""
    default_answer: int
    """Answer of a request that does not say how long."""

    def longest_prompt(self, wanted: int) -> int:
        """Return the longest prompt that leaves room for a short answer of at most ``wanted`` tokens."""
        return min(self.prompt, self.context - min(wanted, max(1, self.context // 16), 64))

    def room(self, asked: int | None) -> int:
        """Return how long a prompt may be before old turns leave.

        Who says nothing gets room for a long answer. ``asked`` is a limit, not a wish: clients send thousands by habit,
        and no conversation is shortened for that beyond what an ordinary answer takes.
        """
        if asked is None:
            return min(self.prompt, self.context - min(self.default_answer, self.context // 4))
        return min(self.prompt, self.context - min(asked, max(1, self.context // 16)))


def build_chat(request: ChatRequest, tokenizer: ChatTokenizer, answers: Answers, limits: Limits) -> Prompt:
    """Return the prompt of a chat; ApiError ``context_length_exceeded`` when its newest turn alone does not fit."""
    messages = _with_tools(request)
    turns = _turns(messages)
    names = tools.parameter_names(request.tools)
    encoded = [_message_ids(message, tokenizer, answers, names) for message in messages]
    counts = [0] * (max(turns, default=_ALWAYS) + 1)
    fixed = len(tokenizer.start()) + (not request.continues)  # the <|assistant|> at the end
    for turn, ids in zip(turns, encoded):
        if turn == _ALWAYS:
            fixed += len(ids)
        else:
            counts[turn] += len(ids)
    wanted = request.max_tokens or limits.default_answer
    needed = fixed + (counts[-1] if counts else 0)
    most = limits.longest_prompt(wanted)
    if needed > most:
        raise invalid("server.context", "messages", code="context_length_exceeded", prompt_tokens=needed, limit=most)
    first = _first_turn(counts, fixed, limits.room(request.max_tokens))
    prompt = tokenizer.start()
    for turn, ids in zip(turns, encoded):
        if turn == _ALWAYS or turn >= first:
            prompt += ids
    if not request.continues:
        prompt.append(tokenizer.assistant)
    return Prompt(
        prompt,
        min(wanted, limits.context - len(prompt)),
        dropped_messages=sum(_ALWAYS < turn < first for turn in turns),
        dropped_tokens=sum(counts[:first]),
        begun=tuple(encoded[-1][1:]) if request.continues else (),
    )


def build_completion(request: CompletionRequest, tokenizer: ChatTokenizer, limits: Limits) -> Prompt:
    """Return the prompt of a plain completion; nothing is dropped from it."""
    start = tokenizer.start()
    given = request.prompt_ids
    if given is None:
        ids = start + tokenizer.encode(request.prompt)
    else:
        unknown = next((token for token in given if not 0 <= token < tokenizer.size), None)
        if unknown is not None:
            raise invalid("server.token", "prompt", token=unknown)
        ids = list(given) if list(given[: len(start)]) == start else start + list(given)
    wanted = request.max_tokens or limits.default_answer
    most = limits.longest_prompt(wanted)
    if len(ids) > most:
        raise invalid("server.context", "prompt", code="context_length_exceeded", prompt_tokens=len(ids), limit=most)
    added = 0 if given is not None and len(ids) == len(given) else len(start)
    return Prompt(ids, min(wanted, limits.context - len(ids)), added=added)


def _first_turn(counts: Sequence[int], fixed: int, room: int) -> int:
    """Return the index of the first turn that stays; the last one always does."""
    over = fixed + sum(counts) - room
    if over <= 0:
        return 0
    step = max(1, room // _DROP_STEPS)
    to_drop = -(-over // step) * step
    dropped = 0
    for index, count in enumerate(counts[:-1]):
        if dropped >= to_drop:
            return index
        dropped += count
    return max(0, len(counts) - 1)


def _with_tools(request: ChatRequest) -> list[Message]:
    """Return the messages with the tools put into the first system message."""
    messages = list(request.messages)
    if request.tools:
        own = messages.pop(0).content if messages[0].role == "system" else ""
        messages.insert(0, Message("system", tools.system_text(own, request.tools)))
    return messages


def _turns(messages: Sequence[Message]) -> list[int]:
    """Return for each message the number of its turn, _ALWAYS for system messages before the first turn."""
    numbers: list[int] = []
    current, before = _ALWAYS, ""
    for message in messages:
        if message.role != "system" or current != _ALWAYS:
            # Neighbouring messages of the user (and of the system among them) are one turn: neither is older than the
            # other's answer.
            asks = message.role in ("user", "system")
            if current == _ALWAYS or (asks and before not in ("user", "system")):
                current += 1
            before = message.role
        numbers.append(current)
    return numbers


def _message_ids(
    message: Message, tokenizer: ChatTokenizer, answers: Answers, names: Mapping[str, Sequence[str]]
) -> list[int]:
    """Return the ids of one message, with its role."""
    if message.role != "assistant":
        return tokenizer.head(message.role) + tokenizer.encode(message.content)
    if not message.tool_calls:
        known = answers.find(message.content)
        if known is not None:
            return [tokenizer.assistant, *known]
        name, content = message.metadata, message.content
        if not name:
            # The demos' servers return a call as the text the model wrote.
            name, content = tools.split_call(content, names)
        return tokenizer.head("assistant", name) + tokenizer.encode(content)
    ids: list[int] = []
    if message.content and not tools.says_call(message.content, message.tool_calls):
        ids += tokenizer.head("assistant") + tokenizer.encode(message.content)
    for call in message.tool_calls:
        ids += tokenizer.head("assistant", call.name) + tokenizer.encode(tools.call_text(call))
    return ids
