"""What the miniatures of several families share."""

import json
import tempfile
from pathlib import Path
from typing import Any

SIDE = 16
"""Of their pictures, in pixels."""
MAX_LENGTH = 16
"""Tokens that a CLIP encoder sees."""
MAX_T5_LENGTH = 32
LETTERS = [chr(code) for code in range(33, 127)]


def tokenizer(max_length: int) -> Any:
    """A real `CLIPTokenizer` whose words are single letters."""
    from transformers import CLIPTokenizer

    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(letter + "</w>" for letter in LETTERS)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
        (Path(folder) / "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=max_length)


def bert_tokenizer(max_length: int) -> Any:
    """A real `BertTokenizer` whose words are single letters."""
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(tokens) + "\n")
        return BertTokenizer.from_pretrained(folder, model_max_length=max_length)


def clip(width: int, *, projected: int | None = None) -> tuple[Any, Any]:
    """Text encoder and tokenizer; with a projection of the pooled vector to so many numbers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = tokenizer(MAX_LENGTH)
    sizes = {"hidden_size": width, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "max_position_embeddings": MAX_LENGTH}
    config = CLIPTextConfig(vocab_size=len(words), **sizes, **ends, **({"projection_dim": projected} if projected else {}))
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config), words


def t5(width: int) -> tuple[Any, Any]:
    """Encoder and tokenizer, whose pieces are single letters."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS)]
    words = T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=MAX_T5_LENGTH)
    sizes = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
    return T5EncoderModel(T5Config(vocab_size=len(words), **sizes)), words


def autoencoder(**how: Any) -> Any:
    """A real `AutoencoderKL` that halves the sides; four channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=8, sample_size=SIDE, **how,
    )  # fmt: skip
