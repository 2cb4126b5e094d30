"""Which beginnings of prompts the server still has in its key-value cache."""

from __future__ import annotations

from collections import OrderedDict

from modelrouter.standalone.simulator.prompts import BYTES_PER_TOKEN


class PrefixCache:
    """Blocks of prompt seen before, each known by its content and all that precedes it.

    As in vLLM only whole blocks are shared, a block counts as found only while every block
    before it is found, and the least recently used block makes room for a new one.
    """

    def __init__(self, *, blocks: int, block_size: int) -> None:
        self._capacity = blocks
        self._block_size = block_size
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def take(self, data: bytes, salt: str = "") -> int:
        """Tokens at the start of this prompt that are cached; from now on the whole of it is.

        Only prompts with the same salt share blocks. The last token is never counted: the model
        has to read one to produce the next.
        """
        width = self._block_size * BYTES_PER_TOKEN
        # The final byte is left out so that a prompt of whole blocks still reads its last one.
        full = (len(data) - 1) // width
        blocks = self._blocks
        chain = hash(salt)
        chains: list[int] = []
        found: int | None = None
        for start in range(0, full * width, width):
            chain = hash((chain, data[start : start + width]))
            if found is None and chain not in blocks:
                found = len(chains)
            chains.append(chain)
        # vLLM gives blocks back from the end of a prompt to its start, so that its start, which
        # others may share and without which the rest is worth nothing, is forgotten last.
        for chain in reversed(chains):
            blocks[chain] = None
            blocks.move_to_end(chain)
        while len(blocks) > self._capacity:
            blocks.popitem(last=False)
        return (len(chains) if found is None else found) * self._block_size
