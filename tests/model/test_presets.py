"""Presets have the published totals and equal the files in samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnncli.model import load_model
from cnncli.model.sources import preset_names, preset_text

SAMPLES = Path(__file__).parent.parent.parent / "samples"

# trainable, non-trainable, MACs; sources: the papers and torchvision's documentation (architecture-files.md)
TOTALS = {
    "lenet1": (3_246, 0, 136_320),
    "lenet5": (61_706, 0, 416_520),
    "lenet5-rgb": (62_006, 0, 651_720),
    "lecture": (62_958, 0, 849_320),
    "digits": (38_282, 0, 337_536),
    "simple3": (28_560, 0, 7_134_176),
    "mlp": (235_146, 0, 234_752),
    "keras001": (1_482_369, 1_792, 1_124_813_312),
    "alexnet": (61_100_840, 0, 714_188_480),
    "vgg11": (132_863_336, 0, 7_609_090_048),
    "vgg16": (138_357_544, 0, 15_470_264_320),
    "vgg19": (143_667_240, 0, 19_632_062_464),
    "resnet18": (11_689_512, 9_600, 1_814_073_344),
    "resnet34": (21_797_672, 17_024, 3_663_761_408),
    "resnet50": (25_557_032, 53_120, 4_089_184_256),
    "resnet101": (44_549_160, 105_344, 7_801_405_440),
    "resnet152": (60_192_808, 151_424, 11_513_626_624),
    "resnet20-cifar": (272_474, 1_568, 40_813_184),
    "resnet18-cifar": (11_173_962, 9_600, 555_422_720),
    "densenet121": (7_978_856, 83_648, 2_834_161_664),
    "densenet169": (14_149_480, 158_400, 3_359_843_328),
    "mobilenet-v1": (4_231_976, 21_888, 568_740_352),
    "mobilenet-v2": (3_504_872, 34_112, 300_774_272),
    "efficientnet-b0": (5_288_548, 42_016, 385_814_752),
    "unet": (31_030_658, 0, 192_384_335_872),
    "squeezenet": (1_248_424, 0, 818_924_576),
    "inception-v1": (6_998_552, 0, 1_582_671_872),
}


@pytest.mark.parametrize("name", preset_names())
def test_totals(name):
    model = load_model(name)
    assert (model.parameter_count, model.non_trainable_count, model.macs) == TOTALS[name]
    assert model.name == name


@pytest.mark.parametrize("name", preset_names())
def test_samples_are_the_same_files(name):
    assert (SAMPLES / "networks" / f"{name}.yaml").read_text() == preset_text(name)


def test_the_first_sample_is_lenet5():
    assert (SAMPLES / "lenet.yaml").read_text() == preset_text("lenet5")


def test_presets_are_short_and_explained():
    for name in preset_names():
        text = preset_text(name)
        assert text.startswith("# ")
        assert len(text.splitlines()) <= 45, name
        assert max(map(len, text.splitlines())) <= 120, name
