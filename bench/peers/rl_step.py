"""TRL's side of bench:rl-step: steps of GRPOTrainer, each of which waits until it is asked for."""

import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from serve_runs import Turns, read_work

work = read_work()
torch.set_num_threads(work["threads"])

# A word for each id of the model. The end is an id that it cannot sample, so that every completion has full length.
vocabulary = {f"w{index}": index for index in range(work["vocabSize"])}
vocabulary["<end>"] = len(vocabulary)
words = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, eos_token="<end>", pad_token="w0", padding_side="left"
)
prompts = [" ".join(f"w{token}" for token in prompt) for prompt in work["prompts"]]


def reward(completion_ids, **_):
    return [sum(token % 2 for token in ids) / len(ids) for ids in completion_ids]


class StepByStep(TrainerCallback):
    """Measures each step from the moment it is asked for; the first one warms up."""

    def __init__(self):
        self.turns = None

    def on_step_begin(self, args, state, control, **_):
        if self.turns is None:
            return
        if not self.turns.start():
            control.should_training_stop = True

    def on_step_end(self, args, state, control, **_):
        if self.turns is None:
            self.turns = Turns({})
        else:
            length = trainer._metrics["train"]["completions/mean_length"][-1]
            self.turns.finish({"meanLength": length})


model = AutoModelForCausalLM.from_pretrained(work["modelDirectory"], dtype=torch.float32)
trainer = GRPOTrainer(
    model=model,
    reward_funcs=reward,
    processing_class=tokenizer,
    train_dataset=Dataset.from_dict({"prompt": prompts}),
    peft_config=LoraConfig(
        r=work["rank"],
        lora_alpha=work["alpha"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    ),
    callbacks=[StepByStep()],
    args=GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        max_steps=work["runs"] + 1,
        per_device_train_batch_size=len(prompts) * work["samples"],
        gradient_accumulation_steps=1,
        gradient_checkpointing=False,
        num_generations=work["samples"],
        max_completion_length=work["maxTokens"],
        generation_kwargs={"eos_token_id": None},
        temperature=1.0,
        beta=work["klCoefficient"],
        learning_rate=work["learningRate"],
        max_grad_norm=1.0,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    ),
)
trainer.train()
