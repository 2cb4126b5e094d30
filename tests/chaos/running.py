"""One run: traffic from beginning to end, round after round."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.asking import Asking
from chaos.journals import Journals
from chaos.judging import Verdict, judge
from chaos.report import report
from chaos.rounds import rounds
from chaos.stage import MODEL, TOLD_MODEL, Stage
from chaos.striking import Striker

_QUIET_SECONDS = 3.0
"""Before the first strike and after the last."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came out."""

    verdict: Verdict
    done: dict[str, int]
    seconds: float
    seed: int

    def __str__(self) -> str:
        return report(self.verdict, self.done, seed=self.seed, seconds=self.seconds)


def run_chaos(
    stage: Stage,
    base_url: str,
    *,
    seed: int,
    seconds: float,
    rate: float = 30.0,
    stream_models: Sequence[str] = (TOLD_MODEL,),
    say: Callable[[str], None] = print,
) -> Run:
    """Strike a stage that is whole for about so long, and leave it whole.

    `rate`: requests a second. `stream_models`: what the streams ask for, in turns. `say`: takes
    lines that tell what happens.
    """
    began = time.monotonic()

    def tell(line: str) -> None:
        say(f"{time.time():.3f} {line}")

    striker = Striker(stage, random.Random(seed), tell)
    until = began + seconds

    with (
        Journals(lambda: [pod for pool in stage.pools for pod in stage.servers(pool)]) as journals,
        Asking(
            base_url,
            MODEL,
            stream_models=stream_models,
            guarded=TOLD_MODEL,
            rate=rate,
            seed=seed,
        ) as asking,
    ):
        time.sleep(_QUIET_SECONDS)
        for number, round_ in enumerate(rounds(seed, stage.pools), 1):
            if time.monotonic() >= until:
                break
            tell(f"round {number}: {round_.spared} is spared")
            striker.strike_all(round_, until)
            healing = stage.heal()
            bad = sum(bool(sample.problem) for sample in asking.samples)
            tell(f"  whole after {healing:.1f} s; {len(asking.samples)} requests, {bad} not right")
        time.sleep(_QUIET_SECONDS)
    took = time.monotonic() - began
    visits = {id_: list(found.values()) for id_, found in journals.visits.items()}
    return Run(judge(asking.samples, visits, striker.kills), dict(striker.done), took, seed)
