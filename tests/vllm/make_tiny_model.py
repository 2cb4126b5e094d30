"""Write a random Llama of 0.2 million parameters, which vLLM serves on a CPU, and LoRA adapters.

make_tiny_model.py FOLDER              run by a Python that has vLLM's requirements

What it says means nothing, but it says it as a real model does, token by token, and the same each
time that it is asked with a temperature of 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = 1024
HIDDEN = 64
LAYERS = 2
RANK = 8
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def write_tokenizer(folder: Path) -> None:
    """Byte pairs as they are common in a text that every Python has."""
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    pairs.train([str(argparse.__file__)], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pairs, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def write_model(folder: Path) -> None:
    """Random weights, the same each time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,  # vLLM's attention for CPUs refuses 16
        max_position_embeddings=16384,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def write_adapter(folder: Path, seed: int) -> None:
    """A LoRA adapter of the queries, as the `peft` library writes one: strong enough to be seen."""
    torch.manual_seed(seed)
    folder.mkdir()
    weights: dict[str, torch.Tensor] = {}
    for layer in range(LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(RANK, HIDDEN).to(torch.bfloat16)
        weights[f"{name}.lora_B.weight"] = torch.randn(HIDDEN, RANK).to(torch.bfloat16)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": RANK,
        "lora_alpha": 4 * RANK,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_tokenizer(target)
    write_model(target)
    for number, name in enumerate(("adapter-a", "adapter-b")):
        write_adapter(target / name, seed=1 + number)
    write_adapter(target / "broken-adapter", seed=3)
    (target / "broken-adapter" / "adapter_model.safetensors").write_bytes(b"no weights")
