"""What the tests of the simulator ask."""

from __future__ import annotations

from typing import Any

HELLO: Any = [{"role": "user", "content": "hello"}]
STORY: Any = [{"role": "user", "content": "Tell me a story about a river."}]
