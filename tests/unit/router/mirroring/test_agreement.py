"""The score of two answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.router.mirroring.agreement import agreement
from modelrouter.router.mirroring.texts import Answer

answers = st.builds(
    Answer,
    st.text(max_size=50),
    st.lists(st.tuples(st.sampled_from("fg"), st.sampled_from(["{}", "[]"])), max_size=3).map(
        tuple
    ),
)


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("The claim is valid.", "the claim IS valid", 1.0),
        ("The claim is valid.", "Refused", 0.0),
        ("yes it is", "no it is", 2 / 3),
        ("", "", 1.0),
        ("", "something", 0.0),
        ("!", "?", 0.0),
        ("\u6211\u662f\u732b", "\u6211\u662f\u72d7", 2 / 3),
    ],
)
def test_texts_agree_by_their_words(one: str, other: str, score: float) -> None:
    assert agreement(Answer(one), Answer(other)) == pytest.approx(score)


def test_where_tools_are_called_the_calls_decide() -> None:
    one = Answer("Let me look.", (("find", '{"a":1}'), ("open", "{}")))
    assert agreement(one, Answer("", (("find", '{"a":1}'), ("open", "{}")))) == 1.0
    assert agreement(one, Answer("Let me look.", (("find", '{"a":2}'), ("open", "{}")))) == 0.5
    assert agreement(one, Answer("Let me look.")) == 0.0


@given(answers, answers)
def test_it_lies_between_0_and_1_whichever_is_first(one: Answer, other: Answer) -> None:
    assert 0 <= agreement(one, other) <= 1
    assert agreement(one, other) == agreement(other, one)


@given(answers)
def test_an_answer_agrees_with_itself(one: Answer) -> None:
    assert agreement(one, one) == 1
