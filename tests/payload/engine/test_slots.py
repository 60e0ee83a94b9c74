"""Which positions of the KV cache are evaluated again."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from oneclick.engine.slots import SCRATCH_SCORES, Slots, extend_links, plan_chunks, plan_single


def links_of(ids: Sequence[int]) -> list[bytes]:
    links: list[bytes] = []
    extend_links(links, ids)
    return links


def filled(*prompts: Sequence[int]) -> Slots:
    slots = Slots()
    for ids in prompts:
        links = links_of(ids)
        for span in slots.missing(links):
            slots.fill(links, span)
    return slots


def test_an_empty_cache_misses_the_whole_prompt() -> None:
    assert Slots().missing(links_of([1, 2, 3])) == [(0, 3)]


def test_a_known_prompt_is_evaluated_at_its_last_position_only() -> None:
    assert filled([1, 2, 3]).missing(links_of([1, 2, 3])) == [(2, 3)]


def test_a_longer_conversation_is_evaluated_from_where_it_continues() -> None:
    assert filled([1, 2, 3]).missing(links_of([1, 2, 3, 4, 5])) == [(3, 5)]


def test_the_same_tokens_after_another_beginning_do_not_count() -> None:
    assert filled([1, 2, 3]).missing(links_of([9, 2, 3])) == [(0, 3)]


def test_a_short_foreign_request_costs_only_the_positions_it_overwrote() -> None:
    conversation = list(range(100, 200))
    slots = filled(conversation, [100, 101, 7, 8, 9])
    assert slots.missing(links_of([*conversation, 300])) == [(2, 5), (100, 101)]


def test_positions_in_doubt_are_evaluated_again() -> None:
    slots = filled([1, 2, 3, 4])
    slots.forget((1, 3))
    assert slots.missing(links_of([1, 2, 3, 4, 5])) == [(1, 3), (4, 5)]
    slots.clear()
    assert slots.missing(links_of([1, 2])) == [(0, 2)]


prompts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=6)


@given(prompts)
def test_after_evaluating_what_is_missing_each_position_holds_what_its_label_says(history: list[list[int]]) -> None:
    # A model of the cache: what was really written at each position, under what beginning.
    cache: list[tuple[int, ...]] = []
    slots = Slots()
    for ids in history:
        links = links_of(ids)
        for start, end in slots.missing(links):
            for position in range(start, end):
                # Evaluating a position reads every one before it: all must belong to this prompt.
                assert all(cache[before] == tuple(ids[: before + 1]) for before in range(position))
                cache[position : position + 1] = [tuple(ids[: position + 1])]
            slots.fill(links, (start, end))
        assert cache[: len(ids)] == [tuple(ids[: end + 1]) for end in range(len(ids))]


def test_chunks_cover_the_missing_spans_in_order() -> None:
    assert plan_chunks([(2, 5), (10, 31)], 10) == [(2, 5), (10, 20), (20, 30), (30, 31)]


def test_chunks_get_shorter_where_a_long_context_fills_the_scratch_memory() -> None:
    calls = plan_chunks([(0, 32768)], 512)
    assert calls[0] == (0, 512)
    assert calls[-1][1] == 32768
    assert all((end - start) * end <= SCRATCH_SCORES for start, end in calls)


def test_without_chunks_little_new_text_goes_token_by_token() -> None:
    calls = plan_single([(90, 100)], 2048, prompt_s_per_token=0.05, token_s=0.1)
    assert calls == [(at, at + 1) for at in range(90, 100)]


def test_without_chunks_much_new_text_is_evaluated_in_one_call_from_the_start() -> None:
    assert plan_single([(10, 100)], 2048, prompt_s_per_token=0.05, token_s=0.1) == [(0, 100)]


def test_without_chunks_an_overwritten_beginning_may_be_evaluated_at_once_and_the_end_one_by_one() -> None:
    calls = plan_single([(0, 80), (500, 502)], 2048, prompt_s_per_token=0.05, token_s=0.1)
    assert calls == [(0, 80), (500, 501), (501, 502)]


def test_without_chunks_no_call_is_longer_than_the_engine_survives() -> None:
    calls = plan_single([(0, 2100)], 2048, prompt_s_per_token=0.05, token_s=0.1)
    assert calls[0] == (0, 2048)
    assert calls[1:] == [(at, at + 1) for at in range(2048, 2100)]
