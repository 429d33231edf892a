"""Train pocket's tokenizer, a stock CLIPTokenizer: `python pocket/tokenizer.py OUT_DIR`."""

import json
import random
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from fontTools.ttLib import TTFont
from things import TRAINED
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer
from world import FONT, PLACES, draw_picture

NUM_TOKENS, MAX_LENGTH = 1_800, 32
START, END = "<|startoftext|>", "<|endoftext|>"
CAPTION_WEIGHT = 50
"""How often each caption counts, against 1 for a glyph's name: so that every word of the captions becomes one token."""


def train_tokenizer(captions: Iterable[str], names: Iterable[str]) -> CLIPTokenizer:
    """Byte-level BPE with CLIP's rules; every byte is a token, so every text has tokens."""
    rules = CLIPTokenizer().backend_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = rules.normalizer, rules.pre_tokenizer
    trainer = BpeTrainer(vocab_size=2 * NUM_TOKENS, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator([*captions, *captions] * (CAPTION_WEIGHT // 2) + [*names], trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][: NUM_TOKENS - 2 * len(alphabet) - 2]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges), START, END]
    return CLIPTokenizer({word: index for index, word in enumerate(words)}, merges, model_max_length=MAX_LENGTH)


def caption_corpus() -> list[str]:
    """A caption of every trained thing in every place, alone and together."""
    rng = random.Random("tokenizer")
    pictures = (draw_picture(rng, thing=t, place=p, count=count) for t in TRAINED for p in PLACES for count in (1, 2, 3))
    return [picture.caption for picture in pictures]


def glyph_names() -> list[str]:
    return sorted({unicodedata.name(chr(code), "") for code in TTFont(FONT).getBestCmap()} - {""})


def save(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """In the form of transformers 5 (tokenizer.json) and in CLIP's own (vocab.json, merges.txt)."""
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))


def main(out_dir: Path) -> None:
    captions = caption_corpus()
    tokenizer = train_tokenizer(captions, glyph_names())
    broken = {word for caption in captions for word in caption.replace(",", " ,").split() if len(tokenizer.tokenize(word)) > 1}
    print(f"{len(tokenizer)} tokens; words of captions that are several: {sorted(broken)}")
    save(tokenizer, out_dir / "tokenizer")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
