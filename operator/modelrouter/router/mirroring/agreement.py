"""How much two answers agree: 0 to 1.

Texts by the words they have in common: the harmonic mean of precision and recall, as SQuAD scores
answers (Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP
2016, 6.1), with all words kept. Order does not count, nor does case; scripts without spaces count
by characters. It says how alike two texts are, not which of them is right: "4" and "5" make little
difference in a long sentence. For that there is an evaluator.

Where one of them calls tools, the calls decide: the share of calls that both make with the same
arguments.
"""

from __future__ import annotations

import re
from collections import Counter

from modelrouter.router.mirroring.texts import Answer

AGREES_FROM = 0.5
"""Answers that agree less are disagreements."""

_UNSPACED = "\u0e00-\u0eff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def agreement(one: Answer, other: Answer) -> float:
    """The score of two answers that are none of them an error."""
    if one.calls or other.calls:
        common = Counter(one.calls) & Counter(other.calls)
        return common.total() / max(len(one.calls), len(other.calls))
    words, others = _words(one.text), _words(other.text)
    count = words.total() + others.total()
    if not count:
        return 1.0 if one.text.split() == other.text.split() else 0.0
    return 2 * (words & others).total() / count


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))
