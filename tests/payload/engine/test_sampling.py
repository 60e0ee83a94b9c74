"""Our sampler against the mathematics of its settings, and what released engines do with them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oneclick.engine.engine import Engine, import_engine
from oneclick.engine.sampling import Sampling
from tests.payload.engine.worker_client import WorkerClient

Models = Callable[..., Path]

PROMPT = [300, 301, 302, 303, 304]
DRAWS = 4000


def words(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(259, 990), k=length)


@pytest.fixture(scope="module")
def loaded(our_engine: Path, models: Models) -> Engine:
    """A model in this process, whose voice is so soft that many tokens have a chance."""
    return Engine(import_engine(str(our_engine), []), str(models("tiny", speech="any", seed=4)), 1)


def probabilities(engine: Engine, ids: list[int]) -> NDArray[np.float64]:
    """Return those of every token after ``ids``."""
    engine.evaluate(ids, 0)
    _, likeliest = engine.log_probs(0, engine.vocab_size)
    found = np.zeros(engine.vocab_size)
    for token, log_prob in likeliest:
        found[token] = math.exp(log_prob)
    return found


def tempered(engine: Engine, ids: list[int], temperature: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = probabilities(engine, ids) ** (1 / temperature)
    return weights / weights.sum()


def drawn(engine: Engine, sampling: Sampling, times: int = DRAWS) -> Counter[int]:
    """Return how often each token is drawn after PROMPT."""
    draw = engine.drawing(sampling, len(PROMPT))
    return Counter(draw(PROMPT, len(PROMPT) - 1).token for _ in range(times))


def test_log_probabilities_are_those_of_a_distribution_best_first(loaded: Engine) -> None:
    assert probabilities(loaded, PROMPT).sum() == pytest.approx(1, abs=1e-4)
    one, likeliest = loaded.log_probs(7, loaded.vocab_size)
    assert dict(likeliest)[7] == one
    assert [log_prob for _, log_prob in likeliest] == sorted((found for _, found in likeliest), reverse=True)
    assert loaded.log_probs(7, 3)[1] == likeliest[:3]
    assert loaded.log_probs(7, 0)[1] == []


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(loaded: Engine, temperature: float) -> None:
    expected = tempered(loaded, PROMPT, temperature)
    counts = drawn(loaded, Sampling(greedy=False, temperature=temperature, top_p=1.0, seed=11))
    common = [token for token in range(len(expected)) if DRAWS * expected[token] >= 8]
    assert len(common) > 10
    rest = 1 - sum(expected[token] for token in common)
    told = [(counts[token], DRAWS * expected[token]) for token in common]
    told.append((DRAWS - sum(count for count, _ in told), DRAWS * rest))
    chi_square = sum((count - mean) ** 2 / mean for count, mean in told if mean > 0)
    # Mean len(common), standard deviation sqrt(2 len(common)); the seed is fixed.
    assert chi_square < len(common) + 5 * math.sqrt(2 * len(common))


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_top_p_keeps_the_fewest_that_reach_it(loaded: Engine, top_p: float) -> None:
    likely = probabilities(loaded, PROMPT)
    order = np.argsort(-likely, kind="stable")
    kept = {int(token) for token in order[: int(np.searchsorted(np.cumsum(likely[order]), top_p)) + 1]}
    found = set(drawn(loaded, Sampling(greedy=False, temperature=1.0, top_p=top_p, seed=1)))
    assert found <= kept
    assert {token for token in kept if likely[token] > 0.02} <= found


def test_top_k_and_min_p_keep_what_they_say(loaded: Engine) -> None:
    likely = probabilities(loaded, PROMPT)
    best_five = {int(token) for token in np.argsort(-likely, kind="stable")[:5]}
    assert set(drawn(loaded, Sampling(greedy=False, temperature=2.0, top_p=1.0, top_k=5, seed=2))) == best_five
    enough = {int(token) for token in np.flatnonzero(likely >= 0.3 * likely.max())}
    assert set(drawn(loaded, Sampling(greedy=False, temperature=1.0, top_p=1.0, min_p=0.3, seed=3))) == enough


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.lists(st.integers(259, 900), min_size=1, max_size=6),
    answer=st.lists(st.integers(259, 900), max_size=6),
    bias=st.dictionaries(st.integers(0, 1000), st.floats(-100, 100, width=32), max_size=4),
    frequency=st.floats(-2, 2, width=32),
    presence=st.floats(-2, 2, width=32),
)
def test_bias_and_penalties_move_the_logits_as_openai_writes_it(
    loaded: Engine, prompt: list[int], answer: list[int], bias: dict[int, float], frequency: float, presence: float
) -> None:
    ids = prompt + answer
    scores = np.log(np.maximum(probabilities(loaded, ids), 1e-300))
    for token, value in bias.items():
        scores[token] += value
    for token, count in Counter(answer).items():
        scores[token] -= count * frequency + presence
    wanted = Sampling(frequency_penalty=frequency, presence_penalty=presence, logit_bias=tuple(bias.items()))
    token = loaded.drawing(wanted, len(prompt))(ids, 0).token
    assert scores[token] == pytest.approx(scores.max(), abs=1e-3)


def test_a_mask_leaves_nothing_but_what_it_allows(loaded: Engine) -> None:
    native = loaded._native
    loaded.evaluate(PROMPT, 0)
    sampler = native.Sampler()
    allowed = {5, 8, 700}
    mask = bytearray(loaded.vocab_size // 8 + 1)
    for token in allowed:
        mask[token // 8] |= 1 << token % 8
    assert {loaded._model.draw(sampler, PROMPT, bytes(mask)) for _ in range(400)} == allowed
    assert loaded._model.draw(sampler, PROMPT, bytes([0, 2])) == 9  # whatever the mask does not reach is forbidden
    with pytest.raises(RuntimeError, match="no id is allowed"):
        loaded._model.draw(sampler, PROMPT, bytes(3))


@pytest.mark.parametrize("ids", [[-1], [10**6]])
def test_ids_that_no_model_has_are_refused(loaded: Engine, ids: list[int]) -> None:
    with pytest.raises(RuntimeError, match="invalid id"):
        loaded.log_probs(ids[0], 0)
    with pytest.raises(RuntimeError, match="invalid"):
        loaded.drawing(Sampling(logit_bias=((ids[0], 1.0),)), 1)(PROMPT, 0)
    with pytest.raises(RuntimeError, match="input"):
        loaded.evaluate(ids, 0)
    with pytest.raises(RuntimeError, match="nothing was evaluated"):
        loaded.log_probs(1, 0)
    loaded.evaluate(PROMPT, 0)


@pytest.mark.parametrize("length", [3, 40, 700])
def test_the_same_seed_gives_the_same_answer_whatever_is_kept(our_engine: Path, models: Models, length: int) -> None:
    ids, other = words(1, length), words(2, 30)
    chosen: dict[str, Any] = {"greedy": False, "temperature": 1.5, "top_p": 0.95}
    with WorkerClient(models("tiny"), our_engine) as client:
        first = client.generate(ids, 20, seed=7, **chosen).tokens
        again = client.generate(ids, 20, seed=7, **chosen)
        assert again.tokens == first
        assert again.evaluated == 1
        client.generate(ids + other, 5)
        assert client.generate(ids, 20, seed=7, **chosen).tokens == first
        assert client.generate(ids, 20, seed=8, **chosen).tokens != first
        assert client.generate(ids, 20, **chosen).tokens != first
        assert client.generate(ids, 20, seed=-7, **chosen).tokens != first


def test_each_token_comes_with_its_figures_only_when_asked(our_engine: Path, models: Models) -> None:
    with WorkerClient(models("tiny"), our_engine) as client:
        number = client.start(PROMPT, 4, log_probs=2)
        client.collect_events(number)
        plain = client.collect_events(client.start(PROMPT, 4))
        scored = client.collect_events(client.start(PROMPT, 4, log_probs=2))
    assert all(set(event) == {"event", "id", "token"} for event in plain if event["event"] == "token")
    tokens = [event for event in scored if event["event"] == "token"]
    assert len(tokens) == 4
    for event in tokens:
        (best, log_prob), _ = event["likeliest"]
        assert (best, log_prob) == (event["token"], event["log_prob"])  # it was greedy


def test_a_prompts_own_tokens_are_scored_as_if_they_had_been_drawn(our_engine: Path, models: Models) -> None:
    ids = words(5, 40)
    with WorkerClient(models("tiny"), our_engine) as client:
        scores = client.generate(ids, 1, log_probs=1, score_prompt=True).done["prompt_scores"]
        assert len(scores) == len(ids) - 1
        for at in (1, 20, 39):
            likeliest = client.collect_events(client.start(ids[:at], 1, keep=False, log_probs=1014))[-2]["likeliest"]
            assert dict(map(tuple, likeliest))[ids[at]] == pytest.approx(scores[at - 1][0], abs=1e-3)


@pytest.mark.parametrize(
    ("field", "value"), [("min_p", 0.1), ("logit_bias", [[5, 1.0]]), ("log_probs", 0), ("presence_penalty", 1.0)]
)
def test_a_released_engine_names_what_it_cannot_do(
    released_engine: Path, models: Models, field: str, value: Any
) -> None:
    with WorkerClient(models("tiny"), released_engine) as client:
        done = client.generate(PROMPT, 2, **{field: value}).done
        assert done["reason"] == "error"
        assert field.replace("_probs", "probs") in done["error"]
        assert len(client.generate(PROMPT, 2, seed=3).tokens) == 2
