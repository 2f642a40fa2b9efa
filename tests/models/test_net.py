"""What can be asked of any net: frozen parts, checkpointing, memory formats, precision, compilation, export."""

import numpy as np
import pytest
import torch
from torch import nn

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.data.datasets.voc import VOCDataModule
from segment.errors import SegmentError
from segment.evaluation.metrics import scores
from segment.models.costs.memory import Living
from segment.models.net import SegmentationNet
from segment.records.checkpoint import load_checkpoint, load_net
from segment.training.losses import CrossEntropy
from tests.conftest import SHARED, needs_shared

SMALL = {
    "fcn": ["model=fcn8s", "model/encoder=mobilenet_v2"],
    "fcn_resnet": ["model=fcn_resnet50", "model/encoder=resnet50_dilated"],
    "unet": ["model=unet", "model/encoder=resnet18"],
    "unet_own": ["model=unet", "model.encoder.width=8", "model.decoder.upsampling=transposed"],
    "timm": ["model=fcn8s", "model/encoder=timm"],
}
NAMED_TIMM = [
    "resnet26d",
    "efficientnet_lite0",
    "mobilenetv3_large_100",
    "convnext_atto",
    "regnety_002",
    "densenet121",
]


def build(*words: str, classes: int = 5) -> SegmentationNet:
    torch.manual_seed(0)
    net = instantiate(load_config([*words, "model.encoder.weights=null"]).model, num_classes=classes)
    for parameter in net.decoder.score.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net


def step(net: SegmentationNet, optimizer: torch.optim.Optimizer) -> None:
    loss = CrossEntropy()(net(torch.randn(2, 3, 65, 97)), torch.randint(0, 5, (2, 65, 97)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", SMALL)
def test_gradients_reach_every_parameter_within_two_steps(kind):
    """From zero scores, as the FCN papers have them."""
    net = instantiate(load_config([*SMALL[kind], "model.encoder.weights=null"]).model, num_classes=5).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step(net, optimizer)
    step(net, optimizer)
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("kind", ["fcn", "timm"])
def test_frozen_stages_and_batch_norms_stay_as_they_are(kind):
    net = build(*SMALL[kind], "model.frozen_stages=2", "model.frozen_batch_norm=true").train()
    before = {name: value.clone() for name, value in net.encoder.state_dict().items()}
    step(net, torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1))
    changed = {name for name, value in net.encoder.state_dict().items() if not torch.equal(value, before[name])}
    held = {id(p) for stage in net.encoder.stages[:2] for p in stage.parameters()}
    frozen = {name for name, p in net.encoder.named_parameters() if id(p) in held}
    assert changed
    assert not changed & frozen
    assert not any("running" in name for name in changed)
    with pytest.raises(SegmentError, match=r"model.frozen_stages=9: this encoder has"):
        build(*SMALL[kind], "model.frozen_stages=9")


def test_frozen_batch_norms_stay_frozen_in_lightnings_hands(main):
    """Its Trainer does not call train(), and trainer.sync_batchnorm puts other batch norms in their place."""
    words = ["data.train_size=4", "data.val_size=2", "trainer.max_epochs=1", "callbacks=[default,ema]"]
    folder = main("train", *words, "model.frozen_batch_norm=true")
    state = load_net(load_checkpoint(folder / "checkpoints" / "best.ckpt"), "best.ckpt").state_dict()
    means = {name: value for name, value in state.items() if name.endswith("running_mean")}
    assert {name.partition(".")[0] for name in means} == {"encoder"}
    assert not any(value.any() for value in means.values())  # as they began
    net = nn.SyncBatchNorm.convert_sync_batchnorm(build(*SMALL["fcn"], "model.frozen_batch_norm=true")).train()
    norms = [part for part in net.encoder.modules() if isinstance(part, nn.SyncBatchNorm)]
    assert norms
    assert not any(part.training for part in norms)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_gradients_of_scores_are_summed_in_32_bits(dtype):
    """A CPU sums so by itself, a GPU in the scores' own type: 64x64 ones are 256 in bfloat16."""
    net = build("model=fcn32s", "model/encoder=mobilenet_v2")
    assert net.enlarge(torch.zeros(1, 5, 2, 2, dtype=dtype), 64, 64).dtype.itemsize == max(dtype.itemsize, 4)


@pytest.mark.parametrize("kind", ["fcn", pytest.param("timm", marks=pytest.mark.slow), "unet_own"])
def test_checkpointing_changes_no_gradient(kind):
    torch.manual_seed(1)
    image, mask = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    gradients = []
    for words in ([], ["model.checkpointing=true"]):
        net = build(*SMALL[kind], *words).train()
        torch.manual_seed(2)
        CrossEntropy()(net(image), mask).backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("kind", ["fcn", "timm"])
def test_checkpointing_takes_less_memory(kind):
    image, peaks = torch.zeros(2, 3, 256, 256), []
    for words in ([], ["model.checkpointing=true"]):
        net = build(*SMALL[kind], *words).train()
        with Living() as living:
            net.encoder(image)[32].sum().backward()
        peaks.append(living.peak)
    assert peaks[1] < 0.9 * peaks[0]


@pytest.mark.parametrize("kind", SMALL)
def test_channels_last_bf16_and_inference_mode(kind):
    net = build(*SMALL[kind]).eval()
    kernels = [p for p in net.parameters() if p.ndim == 4 and min(p.shape) > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    image = torch.randint(0, 256, (2, 3, 65, 97), dtype=torch.uint8)
    with torch.inference_mode():
        found, classes = net(net.normalize(image.contiguous(memory_format=torch.channels_last))), net.predict(image)
        net.to(memory_format=torch.contiguous_format)
        expected = net(net.normalize(image))
        assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max())
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(net.normalize(image))
            assert (net.predict(image) == classes).float().mean() > 0.8
        assert (rounded - expected).abs().mean() < 0.1 * expected.std()


def test_contiguous_where_there_is_an_apple_gpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert all(p.is_contiguous() for p in build(*SMALL["fcn"]).parameters())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model/encoder=resnet18", "model.encoder.output_stride=8"], "resnet18 has no dilation; use 32"),
        (["model/encoder=resnet50", "model.encoder.output_stride=4"], "expected 8, 16 or 32"),
        (
            ["model/encoder=timm", "model.encoder.name=densenet121", "model.encoder.output_stride=8"],
            "no output stride 8",
        ),
        (["model/encoder=timm", "model.encoder.name=vgg11", "model.encoder.output_stride=8"], "has no output stride 8"),
        (["model/encoder=timm", "model.encoder.name=vit_tiny_patch16_224"], "choose a convolutional network"),
    ],
)
def test_encoders_that_cannot(words, message):
    with pytest.raises(SegmentError, match=message):
        build("model=unet", *words)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("encoder", ["resnet50", "timm"])
def test_output_stride_by_dilation(encoder, stride):
    """The same weights; features of the same place, more of them."""
    net = build("model=fcn32s", f"model/encoder={encoder}", f"model.encoder.output_stride={stride}").eval()
    coarse = build("model=fcn32s", f"model/encoder={encoder}").eval()
    assert max(net.encoder.channels) == stride
    assert {*net.encoder.state_dict()} == {*coarse.encoder.state_dict()}
    with torch.no_grad():
        features = net.encoder(torch.randn(1, 3, 64, 96))
    assert {s: f.shape[1:] for s, f in features.items()} == {
        s: (c, 64 // s, 96 // s) for s, c in net.encoder.channels.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_TIMM)
@pytest.mark.parametrize("model", ["fcn8s", "unet", "fcn32s"])
def test_named_networks_of_timm(name, model):
    net = build(f"model={model}", "model/encoder=timm", f"model.encoder.name={name}")
    for batch, height, width in ((1, 1, 1), (1, 33, 65), (2, 375, 500)):
        image = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
        with torch.no_grad():
            assert net.eval()(net.normalize(image)).shape == (batch, 5, height, width)
    net.train()(net.normalize(torch.randint(0, 256, (2, 3, 64, 70), dtype=torch.uint8))).mean().backward()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_compiled_nets_give_the_same(kind):
    net = build(*SMALL[kind]).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = net(image)
        net.compile()
        assert torch.allclose(net(image), expected, atol=1e-4 * expected.abs().max())
    assert not any("_orig_mod" in name for name in net.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*SMALL, "fcn8s_paper"])
def test_export_at_any_size_and_onnx(kind, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    net = build(*SMALL.get(kind, [f"model={kind}"])).eval()
    height, width = (torch.export.Dim(name, min=33, max=2048) for name in ("height", "width"))
    sizes = {"image": {2: height, 3: width}}
    if kind == "fcn8s_paper":  # padding 100 makes conditions of the sizes that torch can't prove, but can trust
        sizes = {"image": {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}}
    example = torch.randn(1, 3, 96, 128)
    program = torch.export.export(net, (example,), dynamic_shapes=sizes)
    file = tmp_path / "net.onnx"
    torch.onnx.export(
        net, (example,), str(file), dynamo=True, dynamic_shapes=sizes, input_names=["image"], verbose=False
    )
    session = onnxruntime.InferenceSession(str(file))
    for size in ((96, 128), (65, 97), (50, 37)):
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = net(image)
            assert torch.allclose(program.module()(image), expected, atol=1e-4 * expected.abs().max())
        found = session.run(None, {"image": image.numpy()})[0]
        assert np.abs(found - expected.numpy()).max() < 1e-3 * expected.abs().max()


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fcn", "unet"])
def test_a_net_overfits_four_real_images(kind):
    """Four VOC photos by heart: mIoU above 0.95, so nothing stands between the net and the labels."""
    half = VOCDataModule(str(SHARED / "data" / "voc"), crop_size=(160, 192), scale=(0.5, 0.5), flip=0)
    batch = half.dataset("val", augment=True).__getitems__([0, 1, 2, 3])
    image, mask = batch["image"], batch["mask"].long()
    weights = SHARED / "weights" / "mobilenet_v2-b0353104.pth"
    model = {"fcn": "fcn8s", "unet": "unet"}[kind]
    words = [f"model={model}", "model/encoder=mobilenet_v2", f"model.encoder.weights={weights}"]
    words += ["model.decoder.skip_strides=[16,8,4]"] if kind == "fcn" else []
    torch.manual_seed(0)
    net = instantiate(load_config(words).model, num_classes=21).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(150):
        loss = CrossEntropy()(net(net.normalize(image)), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prediction, valid = net(net.normalize(image)).argmax(1), mask != 255
    confusion = torch.bincount(mask[valid] * 21 + prediction[valid], minlength=441).view(21, 21)
    assert scores(confusion)["mIoU"] > 0.95
