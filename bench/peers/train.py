"""The side of transformers and PEFT in bench:train: forward, backward, clipping and AdamW on one batch."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from serve_runs import read_work, serve_runs

work = read_work()
torch.set_num_threads(work["threads"])
torch.manual_seed(1)
base = AutoModelForCausalLM.from_pretrained(work["modelDirectory"], dtype=torch.float32)
lora = LoraConfig(
    r=work["rank"],
    lora_alpha=work["alpha"],
    lora_dropout=0.0,
    target_modules="all-linear",
    task_type="CAUSAL_LM",
)
model = get_peft_model(base, lora)
model.config.use_cache = False
model.train()
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
adam = work["adam"]
optimizer = torch.optim.AdamW(
    trained,
    lr=adam["learningRate"],
    betas=(adam["beta1"], adam["beta2"]),
    eps=adam["eps"],
    weight_decay=adam["weightDecay"],
)
rows = torch.tensor(work["rows"])


def train_step():
    loss = model(input_ids=rows, labels=rows).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(trained, adam["maxGradNorm"])
    optimizer.step()
    optimizer.zero_grad()
    return {"loss": loss.item(), "gradNorm": norm.item()}


serve_runs({"facts": train_step()}, train_step)
