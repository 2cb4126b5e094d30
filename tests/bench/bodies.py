"""Request bodies as applications send them, of a given size."""

from __future__ import annotations

import json

_TURNS = (
    "The deployment fails with:\n\n\tTraceback (most recent call last):\n\t  File "
    '"/srv/app/main.py", line 42, in <module>\n\t    raise RuntimeError("no such volume")\n',
    "That error means the claim was never bound. Run `kubectl describe pvc data-0` and look for "
    'events such as "waiting for first consumer"; the storage class decides what happens next.\n',
    'It says:\n\n| Type | Reason | Message |\n|---|---|---|\n| Warning | Failed | "quota\\pods" |\n'
    "\nWhat should I change, and can it be done without downtime? Please answer step by step.\n",
)
_MESSAGE_CHARACTERS = 1200
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "describe",
            "description": "Describe an object of the cluster.",
            "parameters": {
                "type": "object",
                "properties": {"kind": {"type": "string"}, "name": {"type": "string"}},
                "required": ["kind", "name"],
            },
        },
    }
]


def chat(
    model: str,
    size: int,
    *,
    model_last: bool = False,
    stream: bool = False,
    tools: bool = False,
    max_tokens: int = 512,
) -> bytes:
    """A chat request of about `size` bytes: a conversation of messages with quotes and newlines.

    The official client writes `model` before `messages`; `model_last` is for clients that do not.
    """
    messages: list[dict[str, str]] = [
        {"role": "system", "content": "You are a helpful assistant of the platform team."}
    ]
    options: dict[str, object] = {"temperature": 0.2, "max_tokens": max_tokens}
    if stream:
        options["stream"] = True
    if tools:
        options["tools"] = _TOOLS
    if model_last:
        body: dict[str, object] = {"messages": messages, **options, "model": model}
    else:
        body = {"model": model, "messages": messages, **options}

    def encoded() -> bytes:
        # As the official client writes it: compact, in UTF-8.
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()

    turn = 0
    while (missing := size - len(encoded())) > 0:
        text = ""
        while len(json.dumps(text)) < min(missing - 28, _MESSAGE_CHARACTERS):
            text += _TURNS[turn % len(_TURNS)]
            turn += 1
        role = "user" if len(messages) % 2 else "assistant"
        messages.append({"role": role, "content": text[: max(min(missing - 60, len(text)), 1)]})
    return encoded()
