"""Large documents are read piece by piece, and mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.router.json_slices import read_slices

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def read(text: str) -> Any:
    return read_slices(text, lambda: None)


@given(VALUES, st.sampled_from([None, 1, "\t"]))
def test_a_document_means_what_it_means_in_one_piece(value: Any, indent: int | str | None) -> None:
    text = json.dumps(value, indent=indent)
    assert read(f" \n{text}\r\n") == json.loads(text)


@given(VALUES, st.data())
def test_what_is_refused_in_one_piece_is_refused(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    broken = (
        text[:at] + data.draw(st.sampled_from(["", ",", "}", '"', "{", ":", "x"])) + text[at + 1 :]
    )
    try:
        wanted = json.loads(broken, parse_constant=lambda _: pytest.fail("a constant"))
    except json.JSONDecodeError:
        with pytest.raises(json.JSONDecodeError):
            read(broken)
    else:
        assert read(broken) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "{}}", '{"a"}', '{"a" 1}', '{"a": 1,}', "{1: 2}", '{"a": 1 "b": 2}', "{} {}"),
        *("NaN", '{"a": {"b": Infinity}}', "[" * 100_000, f'{{"a": {"9" * 5000}}}'),
    ],
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        read(text)


def test_of_equal_keys_the_last_one_counts() -> None:
    assert read('{"routes": {"a": 1, "b": 2, "a": 3}, "x": 1, "x": {}}') == {
        "routes": {"a": 3, "b": 2},
        "x": {},
    }


def test_it_breathes_after_each_entry_of_a_section() -> None:
    breaths = 0

    def breathe() -> None:
        nonlocal breaths
        breaths += 1

    entries = {f"route-{n}": {"models": [{"deep": n}]} for n in range(100)}
    document = {"version": "1", "routes": entries}
    assert read_slices(json.dumps(document), breathe) == document
    assert breaths == 101
