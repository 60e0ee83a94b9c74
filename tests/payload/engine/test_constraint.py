"""Any schema, any weights: a finished answer keeps its form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from oneclick.engine.constraint import Vocabulary
from oneclick.engine.engine import Engine, import_engine
from oneclick.engine.generation import Generator
from oneclick.engine.sampling import Drawn, Sampling
from oneclick.model.check import read_tokenizer
from oneclick.model.header import read_header
from oneclick.server.api_errors import ApiError
from oneclick.server.chat.answer import AnswerReader
from oneclick.server.chat.grammar import asked_grammar, call_grammar
from oneclick.server.chat.tokenizer import ChatTokenizer

Models = Callable[..., Path]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('ab的"\\\n`)', max_size=4),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text("ab的", max_size=3), inside, max_size=2),
    max_leaves=4,
)
NAMES = st.text("ab的_\"'`)", min_size=1, max_size=6)


def optional(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda all_of: {key: value for part in all_of for key, value in part.items()})


def typed(kind: str, **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return merged(st.just({"type": kind}), optional(**keywords))


LENGTHS = st.integers(0, 4)
LEAVES = st.one_of(
    typed("string", minLength=LENGTHS, maxLength=st.integers(4, 12)),
    typed("string", pattern=st.sampled_from(["^[a-z]{2,5}$", "^(北京|上海)$", r"^\d{4}-\d{2}$", "x"])),
    typed("string", format=st.sampled_from(["date", "time", "date-time", "ipv4", "uuid", "email"])),
    typed("integer", minimum=st.integers(-50, 0), maximum=st.integers(1, 500)),
    typed("integer", exclusiveMinimum=st.integers(-9, 0), multipleOf=st.sampled_from([1, 2, 5])),
    typed("number", minimum=st.floats(-5, 0), exclusiveMaximum=st.floats(1, 99)),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}]),
    st.fixed_dictionaries({"enum": st.lists(JSON, min_size=1, max_size=4, unique_by=repr)}),
    st.fixed_dictionaries({"const": JSON}),
)


def containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(NAMES, inside, max_size=4)
    objects = properties.flatmap(
        lambda known: merged(
            st.just({"type": "object", "properties": known}),
            optional(
                required=st.lists(st.sampled_from(sorted(known) or ["a"]), unique=True),
                additionalProperties=st.booleans() | inside,
            ),
        )
    )
    return st.one_of(
        objects,
        typed("array", items=inside, minItems=st.integers(0, 2), maxItems=st.integers(2, 4)),
        merged(st.just({"type": "array"}), st.fixed_dictionaries({"prefixItems": st.lists(inside, min_size=1)})),
        st.fixed_dictionaries({"anyOf": st.lists(inside, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inside, min_size=1, max_size=2)}),
        inside.map(lambda one: {"$defs": {"it": one}, "$ref": "#/$defs/it"} if "$defs" not in str(one) else one),
    )


SCHEMAS = st.recursive(LEAVES, containers, max_leaves=6)


class Constrained:
    """A model with random weights in this process."""

    def __init__(self, engine: Path, model: Path) -> None:
        header = read_header(model)
        loaded = Engine(import_engine(str(engine), []), str(model), 1)
        place = (header.tokenizer_offset, header.tokenizer_length)
        self.tokenizer = ChatTokenizer(read_tokenizer(model), header.eos_token_id)
        self._generator = Generator(loaded, Vocabulary(model, place, loaded.vocab_size))
        self.finished = 0

    def answer(self, grammar: str, seed: int | None, tools: dict[str, tuple[str, ...]] | None = None) -> AnswerReader:
        """Return what was answered, greedily without a seed, else as wildly as can be; ``finished`` counts."""
        wild = Sampling(greedy=seed is None, temperature=2.0, top_p=1.0, seed=seed, grammar=grammar)
        reader = AnswerReader(self.tokenizer, tools=tools or {})

        def on_token(drawn: Drawn) -> None:
            reader.feed(drawn.token)

        prompt = [*self.tokenizer.start(), *self.tokenizer.head("assistant")]
        stops = self.tokenizer.stop_tokens
        outcome = self._generator.run(prompt, 120, wild, stops, lambda: False, lambda *_: None, on_token)
        reader.finish()
        self.last_reason = outcome.reason
        self.finished += outcome.reason == "stop"
        return reader


@pytest.fixture(scope="module")
def constrained(our_engine: Path, models: Models) -> Constrained:
    return Constrained(our_engine, models("tiny", speech="any"))


def possible(make: Callable[[], str]) -> str:
    """Return a grammar; a schema that is refused, in words, is no case."""
    try:
        return make()
    except ApiError as error:
        assume(not error.values["reason"])
        raise


@pytest.mark.timeout(600)
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=SCHEMAS, seed=st.none() | st.integers(0, 1000))
def test_every_finished_answer_keeps_its_schema(constrained: Constrained, schema: Any, seed: int | None) -> None:
    grammar = possible(
        lambda: asked_grammar({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}})
    )
    reader = constrained.answer(grammar, seed)
    if constrained.last_reason == "stop":
        # Of dates and times the shape is kept: there may be a 31st of June, or a leap second.
        shapes = jsonschema.FormatChecker(["ipv4", "uuid", "email"])
        jsonschema.validate(json.loads(reader.text), schema, format_checker=shapes)


@pytest.mark.timeout(600)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(properties=st.dictionaries(NAMES, SCHEMAS, max_size=3), seed=st.none() | st.integers(0, 1000))
def test_every_finished_call_keeps_its_schema(
    constrained: Constrained, properties: dict[str, Any], seed: int | None
) -> None:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    functions = [{"name": "get_weather", "parameters": schema}, {"name": "b.c-d", "parameters": schema}]
    grammar = possible(lambda: call_grammar(functions))
    names = tuple(properties)
    reader = constrained.answer(grammar, seed, {"get_weather": names, "b.c-d": names})
    if constrained.last_reason == "stop":
        (call,) = reader.calls
        assert call.name in ("get_weather", "b.c-d")
        jsonschema.validate(json.loads(call.arguments), schema)


def test_most_of_these_answers_do_end(constrained: Constrained) -> None:
    # Otherwise the two tests above would prove little.
    constrained.finished = 0
    city = {"type": "object", "properties": {"city": {"enum": ["北京", "上海"]}, "days": {"type": "integer"}}}
    schema = {**city, "required": ["city", "days"], "additionalProperties": False}
    grammar = asked_grammar({"json_schema": schema})
    for seed in range(20):
        constrained.answer(grammar, seed)
    assert constrained.finished >= 15


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"oneOf": [{"type": "string"}, {"minLength": 2}]}, "oneOf"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {}}, "not"),
        ({"type": "string", "pattern": "(?=a)"}, "look-around"),
        ({"type": "string", "format": "hostname-of-mine"}, "hostname-of-mine"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_by_name(schema: Any, named: str) -> None:
    with pytest.raises(ApiError) as refused:
        asked_grammar({"json_schema": schema})
    assert named in str(refused.value)


def test_llama_cpps_grammars_are_kept(constrained: Constrained) -> None:
    grammar = asked_grammar({"grammar": 'root ::= ("是" | "否") "，因为" [a-z]{1,4}'})
    for seed in range(10):
        text = constrained.answer(grammar, seed).text
        assert text[0] in "是否"
        assert text[1:4] == "，因为"
        assert constrained.last_reason == "stop"


def test_the_tokens_of_a_real_vocabulary_are_told_apart(tmp_path: Path, models: Models) -> None:
    # A vocabulary with every kind of piece: bytes, control, unknown, and ids that no tokenizer knows.
    model = models("tiny", padded_vocab=8)
    header = read_header(model)
    vocabulary = Vocabulary(model, (header.tokenizer_offset, header.tokenizer_length), header.vocab_size)
    tokenizer = ChatTokenizer(read_tokenizer(model), header.eos_token_id)
    constraint = vocabulary.constrain(asked_grammar({"grammar": "root ::= [^a]+"}), tokenizer.stop_tokens)
    mask = constraint.allowed()
    allowed = {token for token in range(header.vocab_size) if mask[token // 8] >> token % 8 & 1}
    silent = {0, 1, 2, *tokenizer.special.values(), *range(tokenizer.size, header.vocab_size)}
    assert allowed & silent == set()
    assert all(b"a" not in tokenizer.token_bytes(token) for token in allowed)
    assert not constraint.take(next(token for token in allowed if tokenizer.token_bytes(token) == b"b"))
    mask = constraint.allowed()
    assert all(mask[token // 8] >> token % 8 & 1 for token in tokenizer.stop_tokens)
