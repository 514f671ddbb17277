"""Writes test/parity/tokenizers: small byte-level BPE tokenizers with the pre-tokenizers of Qwen and of Llama 3, a corpus of
strings with the ids that Python's tokenizers gives them, and conversations as Python's jinja2 renders them.

Written with tokenizers 0.23.3, transformers 5.23.0, jinja2 3.1.6 (Python 3.11).
Run: python test/parity/make_tokenizer_fixtures.py
"""

import json
import random
import shutil
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = Path(__file__).parent
OUT = HERE / "tokenizers"
TEMPLATES = HERE / "templates"

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TOKENIZERS = {
    "qwen": dict(
        digits="",
        normalizer=normalizers.NFC(),
        ignore_merges=False,
        special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        plain=["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"],
        eos="<|im_end|>",
    ),
    "llama3": dict(
        digits="{1,3}",
        normalizer=None,
        ignore_merges=True,
        special=[
            "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
            "<|eot_id|>", "<|python_tag|>",
        ],
        plain=[],
        eos="<|eot_id|>",
    ),
}

PROSE = [
    "The quick brown fox jumps over the lazy dog, and it's what we've wanted: they'll say I'm right, you'd agree.",
    "Die Größe des Würfels beträgt 3,14 m³; naïve façade, Ångström, œuvre, İstanbul, Straße.",
    "Быстрая коричневая лиса прыгает через ленивую собаку. Что ещё?",
    "快速的棕色狐狸跳过了懒狗。价格是¥1234.56，对吗？",
    "素早い茶色の狐がのろまな犬を飛び越える。カタカナ、ひらがな、漢字。",
    "다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고",
    "القفز فوق الكلب الكسول ١٢٣٤٥ هل هذا صحيح؟",
    "השועל החום המהיר קופץ מעל הכלב העצלן",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३",
    "สวัสดีชาวโลก ราคา ๑๒๓ บาท",
    "def solve(xs):\n    return [x ** 2 for x in xs if x % 2 == 0]  # squares\n\n\nprint(solve(range(10)))\n",
    'const f = (a, b) => `${a} + ${b}`;\r\nif (x !== null && y?.z) { throw new Error("no"); }\r\n',
    '{"name": "python", "arguments": {"code": "print(1)\\nprint(2)", "n": [1, 2.5, -3e-7, null, true]}}',
    r"\frac{a}{b} + \sqrt{x^2 + y^2} \leq \boxed{42} \text{ where } x \in \mathbb{R}",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n- [ ] item\n  * nested\t\ttab",
    "Total: $1,234,567.89 (−12.5 %) on 2024-07-26T00:00:00Z; call +49 (0)30 123456 or see https://x.org/a?b=c#d",
]

HOSTILE = [
    " ", "  ", "\n", "\r", "\r\n", "\n\n\n", " \n ", "\t", " \t \n\n  x", "x ", "x  ", "x   y", "   x", "\n x", "x\n", "x \n",
    "\u00a0", "\u00a0x", "x\u00a0 y", "\u2003\u2003x", "\u2028", "a\u2028b", "a\u2029b", "\u0085", "a\u0085b", "\u000b\u000c",
    "\ufeff", "\ufeffx", "x\ufeff", "\u200b", "a\u200bb", "\u200d", "\u00ad", "\u180e", "\u3000全角", "\u0000", "a\u0000b",
    "\u0001\u0002\u007f", "\u001c\u001d\u001e\u001f", "a\u001cb", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000", "\U000f0000",
    "e\u0301", "\u00e9", "A\u030a", "\u212b", "\u1e9b\u0323", "\u0344", "\u0958", "\u1100\u1161\u11a8", "\uac01", "o\u0328\u0304",
    "o\u0304\u0328", "\u0301", "\u0301\u0301x", "x\u0301\u0302\u0303", "\ufb01", "\u2126", "\u2f00", "\uf900", "\U0001d15e",
    "👍", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "☝🏿x", "1️⃣", "❤️❤", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𝟙𝟚𝟛", "𐍈𐍉", "𠜎𠜱", "ﷺ", "ǅ", "ẞß", "ſ",
    "it's", "IT'S", "it'ſ", "IT'LL", "'ll'LL'lL", "'s's", "x'tt", "''''", "'", "'S", "' s", "don't've", "K'm", "'ſx", "ı'd", "İ'RE",
    "²³¹", "½", "Ⅷ", "①②", "٣٤٥", "१२३४", "12345678", "1", "12", "123", "1234", "1a2b3c", "0x1F", "1_000", "1.5e-7", "௧௨௩", "〇一二",
    "<|im_start|>", "<|im_start|>user\nhi<|im_end|>\n", "<|im_start", "|im_start|>", "<<|im_start|>|im_end|>", "<|im_end|><|im_end|>",
    "<|im_start|> x", " <|im_end|> ", "<think>\n\n</think>\n\n", "<think", "</think>x<think>", "<tool_call>\n{}\n</tool_call>",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>", "<|eot_id|", "<|python_tag|>x", "<|endoftext|>",
    "<|IM_START|>", "<｜im_start｜>", "<|im_start|\u200b>", "<|im\u0301_start|>", "e\u0301<|im_end|>e\u0301", "<|eot_id|>\u0301",
    "a" * 100, "ab" * 50, "!" * 40, "=" * 33 + "\n", "-" * 20 + "x", " " * 40 + "x", "\n" * 20 + "x", "x" + " " * 40, "\t" * 9 + "y",
    "....", "...\n", "?!\r\n", "a.b.c", "a..b", "_x_y_", "__init__", "$$x$$", "#!/bin/sh\n", "C++", "C#", "a/b\\c", "&amp;", "—–-", "“”‘’",
    "’s", "it’s", "‘tis", "`ls`", "¡¿", "§¶", "€£", "₿", "∑∫√", "→⇒", "░▒▓", "\u0300", "\u0489", "\u20e3", "\u0e33", "\u0f77",
]

SPECIALS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "<|eot_id|>", "<|end_header_id|>", "<|"]
BLANKS = [" ", "  ", "\n", "\n\n", "\t", "\r\n", " \n", "\u00a0", "\u3000", "\u2028", ""]


def corpus():
    """The same strings on every run; every one is valid Unicode without lone surrogates."""
    chance = random.Random(20240726)
    strings = list(dict.fromkeys(PROSE + HOSTILE))
    pieces = [word for line in PROSE for word in line.split()] + HOSTILE
    ranges = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F)]
    ranges += [(0x1100, 0x11FF), (0x2000, 0x206F), (0x2100, 0x218F), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0x1F300, 0x1F64F)]
    while len(strings) < 700:
        parts = [chance.choice(pieces) + chance.choice(BLANKS) for _ in range(chance.randint(2, 6))]
        if chance.random() < 0.3:
            parts.insert(chance.randrange(len(parts)), chance.choice(SPECIALS))
        strings.append("".join(parts))
    while len(strings) < 1200:
        low_high = chance.sample(ranges, chance.randint(1, 3))
        characters = [chr(chance.randint(*chance.choice(low_high))) for _ in range(chance.randint(1, 24))]
        for _ in range(chance.randint(0, 3)):
            characters.insert(chance.randrange(len(characters)), chance.choice(BLANKS + ["'", "1", "é", "e\u0301"]))
        strings.append("".join(characters))
    return strings


def build(spec):
    tokenizer = Tokenizer(models.BPE(ignore_merges=spec["ignore_merges"]))
    if spec["normalizer"] is not None:
        tokenizer.normalizer = spec["normalizer"]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT % spec["digits"]), "isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(PROSE * 4, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in spec["special"]])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in spec["plain"]])
    return tokenizer


SYSTEM = {"role": "system", "content": "Be exact. Größe: 3 m³."}
ASK = {"role": "user", "content": "What is 2 + 2?\n  Think first.  "}
THOUGHT = {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\nIt is 4."}
CALL = {"role": "assistant", "content": 'Running.\n<tool_call>\n{"name": "python", "arguments": {"code": "print(2 + 2)"}}\n</tool_call>'}
RESULT = {"role": "tool", "content": "4\n"}
OTHER = {"role": "tool", "content": '{"ä": [1, 2]}'}
CONVERSATIONS = {
    "one": [ASK],
    "system": [SYSTEM, ASK],
    "several turns": [SYSTEM, ASK, {"role": "assistant", "content": "4"}, {"role": "user", "content": " and 3 + 3?\n"}],
    "thinking in history": [ASK, THOUGHT, {"role": "user", "content": "Sure?"}, THOUGHT],
    "thinking before a question": [ASK, THOUGHT, {"role": "user", "content": "Sure?"}],
    "tools": [SYSTEM, ASK, CALL, RESULT],
    "two results": [ASK, CALL, RESULT, OTHER, {"role": "assistant", "content": "4."}],
    "thinking around a tool": [ASK, {**CALL, "content": "<think>\nRun it.\n</think>\n" + CALL["content"]}, RESULT, THOUGHT],
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "python",
            "description": "Runs code — \"safely\", <really> & 'quickly'.",
            "parameters": {"type": "object", "properties": {"code": {"type": "string"}, "ü": {"type": "number", "minimum": -1.5}}, "required": ["code"]},
        },
    }
]
VARIANTS = [dict(), dict(enable_thinking=False), dict(tools=TOOLS)]


def conversations():
    rendered = []
    for template in sorted(TEMPLATES.glob("*.jinja")):
        compiled = _compile_jinja_template(template.read_text())
        for name, messages in CONVERSATIONS.items():
            for variables in VARIANTS:
                for prompt in (True, False):
                    text = compiled.render(
                        messages=messages, add_generation_prompt=prompt, bos_token="<|begin_of_text|>",
                        eos_token="<|im_end|>", date_string="26 Jul 2024", **variables,
                    )
                    rendered.append(
                        dict(template=template.stem, name=name, variables=variables, prompt=prompt, messages=messages, text=text)
                    )
    return rendered


def compact(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    strings = corpus()
    for name, spec in TOKENIZERS.items():
        (OUT / name).mkdir(parents=True)
        tokenizer = build(spec)
        (OUT / name / "tokenizer.json").write_text(compact(json.loads(tokenizer.to_str())) + "\n")
        config = dict(eos_token=spec["eos"], tokenizer_class="PreTrainedTokenizerFast", clean_up_tokenization_spaces=False)
        (OUT / name / "tokenizer_config.json").write_text(compact(config) + "\n")
        encoded = [tokenizer.encode(text, add_special_tokens=False).ids for text in strings]
        decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in encoded]
        rows = [compact([text, ids] if text == back else [text, ids, back]) for text, ids, back in zip(strings, encoded, decoded)]
        (OUT / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
        print(name, tokenizer.get_vocab_size(), "tokens,", len(rows), "strings")
    chats = conversations()
    (OUT / "conversations.jsonl").write_text("\n".join(map(compact, chats)) + "\n")
    print(len(chats), "conversations")
