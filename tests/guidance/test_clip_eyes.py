"""CLIP sees a picture that is being drawn as transformers shows it one that is finished."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from aquatint.evaluation.clip_scores import ClipScores
from aquatint.guidance import _models
from aquatint.guidance._clip import ClipEncoder
from aquatint.guidance._pictures import Cutouts


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Without hard edges, beside which Pillow cuts off what goes beyond white."""
    picture = Image.new("RGB", (96, 96), "teal")
    ImageDraw.Draw(picture).ellipse((20, 10, 80, 70), fill="gold", outline="black")
    return picture.filter(ImageFilter.GaussianBlur(2))


def test_pictures_and_texts_are_those_of_transformers(picture):
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder = _models.place("pocket")
    model, processor, words = (each.from_pretrained(folder) for each in (CLIPModel, CLIPImageProcessor, CLIPTokenizer))
    with torch.no_grad():
        shown = processor(images=picture, return_tensors="pt")["pixel_values"]
        told = words(["an owl on a beach"], padding="max_length", max_length=32, return_tensors="pt")
        theirs = model.float()(pixel_values=shown, **told)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
        clip = ClipEncoder("pocket")
        assert (clip.eye(pixels) - shown).abs().max() < 0.03, "Pillow rounds to bytes"
        assert float(clip.pictures(pixels)[0] @ theirs.image_embeds[0]) > 0.9995
        assert float(clip.texts(["an owl on a beach"])[0] @ theirs.text_embeds[0]) > 0.9999
        cosine = float(theirs.image_embeds[0] @ theirs.text_embeds[0])
    assert ClipScores(folder).to_texts([picture], ["an owl on a beach"]) == pytest.approx([cosine], abs=0.005)


def test_a_picture_is_seen_the_same_whatever_its_company():
    pixels = torch.rand(3, 3, 40, 30, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together, alone = Cutouts(2, (16, 16)), Cutouts(2, (16, 16))
    for _ in range(2):
        views = together(pixels)
        assert views.shape == (9, 3, 16, 16)
        assert torch.equal(alone(pixels[1:2]), views[1::3])
    assert not torch.equal(together(pixels)[3:], views[3:]), "other pieces at every look"
    assert Cutouts(0, (16, 16))(pixels) is pixels
