"""Writes test/parity/fixtures: tiny random models and what transformers, peft and torch compute with them.

Written with torch 2.13.0, transformers 5.23.0, peft 0.21.2, safetensors 0.8.0, numpy 2.4.6 (Python 3.11, CPU, float32).
Run: python test/parity/make_fixtures.py
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

FIXTURES = Path(__file__).parent / "fixtures"
VOCAB = 128
ROW_LENGTHS = (96, 24, 7)
NEW_TOKENS = 24
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAM = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
MAX_GRAD_NORM = 1.0

SIZES = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    initializer_range=0.25,
    rms_norm_eps=1e-5,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=None,
)

MODELS = {
    "qwen3": dict(config=Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True)),
    "qwen2": dict(config=Qwen2Config(**SIZES, tie_word_embeddings=False), shard="40KB"),
    "llama": dict(
        config=LlamaConfig(
            **SIZES,
            tie_word_embeddings=False,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=500000.0,
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=32,
            ),
        ),
        dtype=torch.bfloat16,
        old_form=True,
    ),
    "mistral": dict(config=MistralConfig(**SIZES, sliding_window=None, tie_word_embeddings=False)),
    "llama2": dict(
        config=LlamaConfig(
            **{**SIZES, "num_key_value_heads": 4},
            tie_word_embeddings=True,
            rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5),
        ),
        dtype=torch.float16,
        old_form=True,
        shard="20KB",
    ),
}


def randomise(model):
    """Norms and biases start as ones and zeros, which would hide a swapped or forgotten one."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
            if name.endswith("bias"):
                parameter.copy_(0.5 * torch.randn_like(parameter))


def to_transformers_4_form(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if rope["rope_type"] == "linear":  # as the first models with scaling wrote it
        rope["type"] = rope.pop("rope_type")
    config["rope_scaling"] = rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2) + "\n")


def write_model(folder, spec):
    model = AutoModelForCausalLM.from_config(spec["config"])
    randomise(model)
    model = model.to(spec.get("dtype", torch.float32))
    model.save_pretrained(folder, **({"max_shard_size": spec["shard"]} if "shard" in spec else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spec.get("old_form"):
        to_transformers_4_form(folder / "config.json")


def token_logprobs(model, row):
    """Entry i = log-probability of token i given those before it, from i = 1."""
    logits = model(input_ids=torch.tensor([row])).logits[0, :-1].float()
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(row[1:])[:, None])[:, 0]


def greedy(model, row):
    # Without a mask, generate takes every token 0 of the prompt for padding.
    output = model.generate(
        input_ids=torch.tensor([row]),
        attention_mask=torch.ones(1, len(row), dtype=torch.long),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
    )[0].tolist()
    logits = torch.log_softmax(model(input_ids=torch.tensor([output])).logits[0], -1)
    top, choices = logits[len(row) - 1 : -1].topk(2, -1)
    assert choices[:, 0].tolist() == output[len(row) :], "the cache changed a choice"
    assert (top[:, 0] - top[:, 1]).min() > 2e-4, "a greedy choice is too close to call"
    return output[len(row) :]


def left_padded_logprobs(model, rows):
    """The same rows in one batch, padded on the left."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = torch.log_softmax(
        model(input_ids=ids, attention_mask=mask, position_ids=positions).logits, -1
    )
    return [
        logits[index, width - len(row) : -1].gather(-1, torch.tensor(row[1:])[:, None])[:, 0]
        for index, row in enumerate(rows)
    ]


def sft_loss(model, rows, weights):
    return sum(
        -(token_logprobs(model, row) * torch.tensor(weight)).sum()
        for row, weight in zip(rows, weights)
    )


def clean(name):
    return name.replace(".default", "")


def train_adapter(model, rows, weights):
    """Three AdamW steps on the adapter; gradients of the first and weights after the third."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trainable.values(), **ADAM)
    losses, norms, tensors = [], [], {}
    for step in range(3):
        optimizer.zero_grad()
        loss = sft_loss(model, rows, weights)
        loss.backward()
        if step == 0:
            tensors |= {f"gradient/{clean(n)}": p.grad.clone() for n, p in trainable.items()}
        norms.append(torch.nn.utils.clip_grad_norm_(trainable.values(), MAX_GRAD_NORM).item())
        optimizer.step()
        losses.append(loss.item())
    tensors |= {f"after/{clean(n)}": p.detach().clone() for n, p in trainable.items()}
    return losses, norms, tensors


def full_gradients(model, rows, weights):
    model.requires_grad_(True)
    loss = sft_loss(model, rows, weights)
    loss.backward()
    return loss.item(), {f"full/{name}": p.grad for name, p in model.named_parameters()}


def as_lists(tensors):
    return [tensor.tolist() for tensor in tensors]


def write_fixture(name, spec):
    folder = FIXTURES / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_model(folder, spec)
    generator = torch.Generator().manual_seed(7)
    rows = [torch.randint(VOCAB, (n,), generator=generator).tolist() for n in ROW_LENGTHS]
    weights = [
        (torch.rand(n - 1, generator=generator) * (torch.rand(n - 1, generator=generator) > 0.3)).tolist()
        for n in ROW_LENGTHS
    ]
    load = lambda: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model = load()
    with torch.no_grad():
        expected = dict(
            rows=rows,
            weights=weights,
            logprobs=as_lists(token_logprobs(model, row) for row in rows),
            leftPaddedLogprobs=as_lists(left_padded_logprobs(model, rows)),
            greedy=[greedy(model, row) for row in rows],
        )
        for dtype in ("bfloat16", "float16"):
            half = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
            expected[f"{dtype}Logprobs"] = as_lists(token_logprobs(half, row) for row in rows)
    expected["fullLoss"], tensors = full_gradients(load(), rows, weights)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(load(), lora).save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = name
    config["target_modules"] = sorted(config["target_modules"])
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    adapted = PeftModel.from_pretrained(load(), folder / "adapter", is_trainable=True).eval()
    with torch.no_grad():
        expected["adapterLogprobs"] = as_lists(token_logprobs(adapted, row) for row in rows)
        expected["adapterGreedy"] = [greedy(adapted, row) for row in rows]
    losses, norms, adapter_tensors = train_adapter(adapted, rows, weights)
    with torch.no_grad():
        expected["trainedLogprobs"] = as_lists(token_logprobs(adapted, row) for row in rows)
    expected |= dict(
        adam=dict(
            learningRate=ADAM["lr"],
            beta1=ADAM["betas"][0],
            beta2=ADAM["betas"][1],
            eps=ADAM["eps"],
            weightDecay=ADAM["weight_decay"],
            maxGradNorm=MAX_GRAD_NORM,
        ),
        losses=losses,
        gradNorms=norms,
    )
    save_file({k: v.contiguous() for k, v in (tensors | adapter_tensors).items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    torch.manual_seed(1)
    torch.set_num_threads(1)
    for model_name, model_spec in MODELS.items():
        write_fixture(model_name, model_spec)
        print(model_name, "written")
