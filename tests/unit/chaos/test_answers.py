"""Whether an answer is the right one, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from chaos.answers import ErrorEvent, Question, StreamCheck, Wrong, check_whole

QUESTION = Question(7, "chaos", 4, streamed=True)


def chunk(text: str = "", reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


def stream(pieces: Sequence[str]) -> bytes:
    return b"".join([chunk(), *map(chunk, pieces), chunk(reason="length"), b"data: [DONE]\n\n"])


def read(*pieces: bytes) -> StreamCheck:
    check = StreamCheck(QUESTION)
    for data in pieces:
        check.feed(data)
    check.end()
    return check


def test_a_right_stream_is_right_however_it_is_cut_into_packets() -> None:
    whole = stream(QUESTION.pieces)
    for size in (1, 7, 50, len(whole)):
        packets = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert read(*packets).tokens == 4


def test_comments_are_no_part_of_the_answer() -> None:
    assert read(b": waiting\n\n", stream(QUESTION.pieces)).tokens == 4


@pytest.mark.parametrize(
    "data",
    [
        stream(QUESTION.pieces[:-1]),
        stream([*QUESTION.pieces, QUESTION.pieces[0]]),
        stream([*QUESTION.pieces[:2], *QUESTION.pieces[1:]]),
        stream(["What", *QUESTION.pieces[1:]]),
        stream(QUESTION.pieces).removesuffix(b"data: [DONE]\n\n"),
        stream(QUESTION.pieces) + b"data: [DONE]\n\n",
        chunk(QUESTION.pieces[0]) + chunk(reason="abort") + b"data: [DONE]\n\n",
        b"",
    ],
    ids=["short", "long", "twice", "other", "no-done", "more", "aborted", "empty"],
)
def test_any_other_stream_is_wrong(data: bytes) -> None:
    with pytest.raises(Wrong):
        read(data)


def test_an_error_event_is_told_apart() -> None:
    with pytest.raises(ErrorEvent):
        read(chunk(QUESTION.pieces[0]), b'data: {"error": {"message": "gone"}}\n\n')


def test_no_two_questions_have_the_same_answer() -> None:
    answers = {"".join(Question(number, "chaos", 20, True).pieces) for number in range(200)}
    assert len(answers) == 200


def test_a_whole_answer_is_compared_with_its_end() -> None:
    def body(text: str, reason: str) -> bytes:
        choice = {"message": {"content": text}, "finish_reason": reason}
        return orjson.dumps({"choices": [choice]})

    right = "".join(QUESTION.pieces)
    check_whole(QUESTION, body(right, "length"))
    for wrong in (body(right, "abort"), body(right[:-1], "length"), b"{}", b"", b"[1]"):
        with pytest.raises(Wrong):
            check_whole(QUESTION, wrong)
