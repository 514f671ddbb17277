"""transformers' side of bench:generate: `model.generate` on one padded batch."""

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from serve_runs import read_work, serve_runs

work = read_work()
torch.set_num_threads(work["threads"])
model = AutoModelForCausalLM.from_pretrained(work["modelDirectory"], dtype=torch.float32)
model.eval()
prompts = torch.tensor(work["prompts"])
mask = torch.ones_like(prompts)


@torch.inference_mode()
def generate(sample):
    config = GenerationConfig(
        max_new_tokens=work["maxTokens"],
        do_sample=sample,
        temperature=1.0 if sample else None,
        top_k=0 if sample else None,
        top_p=1.0 if sample else None,
        eos_token_id=None,
        pad_token_id=0,
    )
    rows = model.generate(prompts, attention_mask=mask, generation_config=config)
    return rows[:, prompts.shape[1] :]


greedy = generate(sample=False).tolist()
serve_runs({"tokens": greedy}, lambda: {"tokens": generate(sample=True).numel()})
