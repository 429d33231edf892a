"""A real image-to-text model in miniature describes pictures: what it says, what is remembered, what is refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from aquatint.data.cache import TensorCache
from aquatint.data.captioner import MAX_TOKENS, BadCaptioner, Captioner, fill
from aquatint.data.places import Entry, File

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
WORDS = (*SPECIAL, "a", "cat", "dog", "red", "green", "blue", "disc", "on", "grass", "of", "in", "the", "sun")
DIMS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIDE_PX = 16


def tokenizer(folder: Path):
    from transformers import BertTokenizer

    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return BertTokenizer.from_pretrained(folder, bos_token="[DEC]")


def scattered(model, seed: int, *, std: float):
    """Weights far enough apart that different pictures get different words."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, std)
    return model


@pytest.fixture(scope="module")
def blip(tmp_path_factory) -> Path:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    ids = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = DIMS | ids | {"vocab_size": len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 128}
    config = BlipConfig(text_config=text, vision_config=DIMS | {"image_size": SIDE_PX, "patch_size": 8}, projection_dim=16)
    folder: Path = tmp_path_factory.mktemp("blip")
    scattered(BlipForConditionalGeneration(config), 0, std=0.3).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}), tokenizer(folder)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit_gpt2(tmp_path_factory) -> Path:
    """As older captioners lie on the Hub: an image processor and a tokenizer, and nothing that joins them."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ids = {"bos_token_id": 5, "eos_token_id": 3}
    speaker = GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=2, n_head=2, n_positions=128, add_cross_attention=True, **ids)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**DIMS, image_size=SIDE_PX, patch_size=8), speaker)
    config.decoder_start_token_id, config.pad_token_id = 5, 0
    folder: Path = tmp_path_factory.mktemp("vit")
    scattered(VisionEncoderDecoderModel(config), 3, std=0.5).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)
    tokenizer(folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llava(tmp_path_factory) -> Path:
    """A model that talks: it has a chat template, in which [MASK] stands for the picture."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    ids = {"bos_token_id": 5, "eos_token_id": 3, "pad_token_id": 0}
    vision, text = CLIPVisionConfig(**DIMS, image_size=SIDE_PX, patch_size=8), LlamaConfig(**DIMS, **ids, vocab_size=len(WORDS))
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=4, image_seq_length=4, **ids)
    folder: Path = tmp_path_factory.mktemp("llava")
    scattered(LlavaForConditionalGeneration(config), 0, std=0.3).save_pretrained(folder)
    template = (
        "{% for part in messages[0]['content'] %}{{ '[DEC] [MASK] ' if part['type'] == 'image' else part['text'] + ' ' }}{% endfor %}[CLS]"
    )
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}),
        tokenizer(folder), patch_size=8, vision_feature_select_strategy="default", image_token="[MASK]", num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (20 + index, 30), colour) for index, colour in enumerate(("red", "blue", "white", "black", "lime"))]


def spoken(ids: list[int]) -> str:
    return " ".join(WORDS[token] for token in ids if token >= len(SPECIAL))


def normalised(picture: Image.Image, mean: list[float], *, std: list[float]) -> torch.Tensor:
    """(1, 3, H, W); a picture of one colour is itself at every size."""
    values = [(value / 255 - m) / s for value, m, s in zip(picture.getpixel((0, 0)), mean, std, strict=True)]
    return torch.tensor(values).view(1, 3, 1, 1).expand(1, 3, SIDE_PX, SIDE_PX)


def greedy(logits, start: list[int]) -> list[int]:
    """The most likely token, again and again: what the captioner must say, without `generate`."""
    ids = list(start)
    for _ in range(MAX_TOKENS):
        with torch.no_grad():
            ids.append(int(logits(torch.tensor([ids]))[0, -1].argmax()))
        if ids[-1] == 3:
            break
    return ids


def blip_says(folder: Path, picture: Image.Image, *, prompt: tuple[str, ...] = ()) -> str:
    from transformers import BlipForConditionalGeneration
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    seen = model.vision_model(pixel_values=normalised(picture, OPENAI_CLIP_MEAN, std=OPENAI_CLIP_STD))[0]
    start = [5, *map(WORDS.index, prompt)]
    return spoken(greedy(lambda ids: model.text_decoder(input_ids=ids, encoder_hidden_states=seen).logits, start)[1:])


def test_a_blip_says_the_most_likely_words(blip: Path, tmp_path: Path) -> None:
    shown = pictures()
    told = Captioner(str(blip)).captions([str(index) for index in range(5)], shown.__getitem__, cache=TensorCache(tmp_path))
    assert told == [blip_says(blip, picture) for picture in shown]
    assert len(set(told)) > 1
    begun = Captioner(str(blip), prompt="a cat").captions(["0", "1"], shown.__getitem__, cache=TensorCache(tmp_path))
    assert begun == [blip_says(blip, picture, prompt=("a", "cat")) for picture in shown[:2]]
    assert begun[0].startswith("a cat ")


@pytest.mark.parametrize("prompt", ["", "a cat"])
def test_a_model_whose_parts_nothing_joins(vit_gpt2: Path, tmp_path: Path, prompt: str) -> None:
    from transformers import VisionEncoderDecoderModel

    model, shown = VisionEncoderDecoderModel.from_pretrained(vit_gpt2).eval(), pictures()
    told = Captioner(str(vit_gpt2), prompt).captions([str(index) for index in range(5)], shown.__getitem__, cache=TensorCache(tmp_path))
    start = [5, *map(WORDS.index, prompt.split())]

    def says(picture: Image.Image) -> str:
        pixels = normalised(picture, [0.5] * 3, std=[0.5] * 3)
        return spoken(greedy(lambda ids: model(pixel_values=pixels, decoder_input_ids=ids).logits, start)[1:])

    assert told == [says(picture) for picture in shown]
    assert len(set(told)) > 1


def test_a_model_that_talks_is_asked_and_only_its_answer_kept(llava: Path, tmp_path: Path) -> None:
    from transformers import LlavaForConditionalGeneration
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    model, shown = LlavaForConditionalGeneration.from_pretrained(llava).eval(), pictures()
    told = Captioner(str(llava), "a red cat").captions([str(index) for index in range(5)], shown.__getitem__, cache=TensorCache(tmp_path))
    start = [5, *[WORDS.index("[MASK]")] * 4, *map(WORDS.index, ["a", "red", "cat"]), 2]  # four patches, the question, its end

    def says(picture: Image.Image) -> str:
        pixels = normalised(picture, OPENAI_CLIP_MEAN, std=OPENAI_CLIP_STD)
        return spoken(greedy(lambda ids: model(input_ids=ids, pixel_values=pixels).logits, start)[len(start) :])

    assert told == [says(picture) for picture in shown]
    assert len(set(told)) > 1


def test_every_picture_is_asked_about_once(blip: Path, tmp_path: Path) -> None:
    shown, asked = pictures(), []

    def opened(index: int) -> Image.Image:
        asked.append(index)
        return shown[index]

    def captions(hashes: list[str], captioner: Captioner) -> list[str]:
        return captioner.captions(hashes, opened, cache=TensorCache(tmp_path))

    first = captions(["a", "b", "a"], Captioner(str(blip)))
    assert asked == [0, 1]
    assert first[0] == first[2]
    assert captions(["a", "b", "c"], Captioner(str(blip)))[:2] == first[:2]
    assert asked == [0, 1, 2]
    captions(["a"], Captioner(str(blip), prompt="a dog"))
    assert asked == [0, 1, 2, 0]


def test_another_state_of_the_model_is_another_model(blip: Path) -> None:
    before = Captioner(str(blip)).identity()
    assert Captioner(str(blip)).identity() == before
    weights = blip / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    assert Captioner(str(blip)).identity() != before


def test_fill_gives_captions_to_those_without(blip: Path, tmp_path: Path) -> None:
    shown = dict(zip(("a.png", "b.png", "c.png"), pictures(), strict=False))
    written = {"a.png": None, "b.png": "written", "c.png": " "}
    entries = [Entry(name, File(tmp_path / name), caption) for name, caption in written.items()]
    filled, findings = fill(
        entries, Captioner(str(blip)), hashes=list("abc"), opened=lambda entry: shown[entry.name], cache=TensorCache(tmp_path / "cache")
    )
    assert [entry.caption for entry in filled] == [blip_says(blip, shown["a.png"]), "written", blip_says(blip, shown["c.png"])]
    assert [(finding.level, finding.file) for finding in findings] == [("note", str(blip))]
    assert "described 2 pictures of 2 without a caption" in findings[0].what
    assert fill(filled, Captioner("nowhere"), hashes=list("abc"), opened=lambda entry: shown[entry.name]) == (filled, [])


@pytest.mark.parametrize("source", ["no/such_model", "./nowhere"])
def test_what_is_no_model_is_told(source: str, tmp_path: Path) -> None:
    with pytest.raises(BadCaptioner, match="captioner="):
        Captioner(source).captions(["a"], lambda index: pictures()[0], cache=TensorCache(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadCaptioner, match="captioner="):
        Captioner(str(tmp_path / "empty")).captions(["a"], lambda index: pictures()[0], cache=TensorCache(tmp_path))
