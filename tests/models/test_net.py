"""The net with its options: frozen parts, checkpointing, memory formats, precision, compilation, export."""

from functools import partial

import pytest
import torch
from torch import nn

from segment.data.datasets.voc import VOCDataModule
from segment.errors import SegmentError
from segment.evaluation.metrics import confusion_metrics
from segment.models.costs.memory import LiveTensors
from segment.models.decoders.unet import UNetDecoder
from segment.models.encoders.encoder import CeilMaxPool2d, Encoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from segment.models.published.fcn_paper import PaperFCNDecoder
from segment.prediction.exported_net import (
    OUTPUT_TYPES,
    ExportedNet,
    compare_with_net,
    to_onnx,
    to_torch_export,
    trace_net,
)
from segment.records.checkpoint import load_checkpoint, load_net
from segment.training.losses import CrossEntropy
from tests.conftest import SHARED, needs_shared
from tests.models.conftest import build_net, build_scoring_net

SMALL = {
    "fcn": ["model=fcn8s", "model/encoder=mobilenet_v2"],
    "segnet": ["model=segnet_small", "model.encoder.width=8"],
    "unet_own": ["model=unet", "model.encoder.width=8", "model.decoder.upsampling=transposed"],
    "timm": ["model=fcn8s", "model/encoder=timm"],
}
KINDS = [kind if kind == "unet_own" else pytest.param(kind, marks=pytest.mark.slow) for kind in SMALL]


def step(net: SegmentationNet, optimizer: torch.optim.Optimizer) -> None:
    loss = CrossEntropy()(net(torch.randn(2, 3, 65, 97)), torch.randint(0, 5, (2, 65, 97)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter_within_two_steps(kind):
    """This holds although the scores of FCNs start at zero, as in the papers."""
    net = build_net(*SMALL[kind], "model.encoder.weights=null", num_classes=5).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step(net, optimizer)
    step(net, optimizer)
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("kind", ["fcn", "timm"])
def test_frozen_stages_and_batch_norms_stay_as_they_are(kind):
    net = build_scoring_net(*SMALL[kind], "model.frozen_stages=2", "model.frozen_batch_norm=true").train()
    before = {name: value.clone() for name, value in net.encoder.state_dict().items()}
    step(net, torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1))
    changed = {name for name, value in net.encoder.state_dict().items() if not torch.equal(value, before[name])}
    held = {id(p) for stage in net.encoder.stages[:2] for p in stage.parameters()}
    frozen = {name for name, p in net.encoder.named_parameters() if id(p) in held}
    assert changed
    assert not changed & frozen
    assert not any("running" in name for name in changed)
    with pytest.raises(SegmentError, match=r"model.frozen_stages=9: this encoder has"):
        build_scoring_net(*SMALL[kind], "model.frozen_stages=9")


@pytest.mark.slow
def test_frozen_batch_norms_stay_frozen_in_a_trainer(main):
    """Lightning's Trainer does not call train(), and trainer.sync_batchnorm replaces batch norms."""
    overrides = ["data.train_size=4", "data.val_size=2", "trainer.max_epochs=1", "callbacks=[default,ema]"]
    folder = main("train", *overrides, "model.frozen_batch_norm=true")
    state = load_net(load_checkpoint(folder / "checkpoints" / "best.ckpt"), "best.ckpt").state_dict()
    means = {name: value for name, value in state.items() if name.endswith("running_mean")}
    assert {name.partition(".")[0] for name in means} == {"encoder"}
    assert not any(value.any() for value in means.values())  # as initialised
    net = build_scoring_net(*SMALL["fcn"], "model.frozen_batch_norm=true")
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net).train()
    norms = [part for part in net.encoder.modules() if isinstance(part, nn.SyncBatchNorm)]
    assert norms
    assert not any(part.training for part in norms)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_gradients_of_scores_are_summed_in_32_bits(dtype):
    """A CPU does so by itself, but a GPU sums in the type of the scores: 64x64 ones are 256 in bfloat16."""
    net = build_scoring_net("model=fcn32s", "model/encoder=mobilenet_v2")
    assert net.upsample(torch.zeros(1, 5, 2, 2, dtype=dtype), 64, 64).dtype.itemsize == max(dtype.itemsize, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_changes_no_gradient(kind):
    torch.manual_seed(1)
    image, mask = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    gradients = []
    for overrides in ([], ["model.checkpointing=true"]):
        net = build_scoring_net(*SMALL[kind], *overrides).train()
        torch.manual_seed(2)
        CrossEntropy()(net(image), mask).backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fcn", "timm"])
def test_checkpointing_takes_less_memory(kind):
    image, peaks = torch.zeros(2, 3, 256, 256), []
    for overrides in ([], ["model.checkpointing=true"]):
        net = build_scoring_net(*SMALL[kind], *overrides).train()
        with LiveTensors() as live:
            net.encoder(image)[32].sum().backward()
        peaks.append(live.peak)
    assert peaks[1] < 0.9 * peaks[0]


@pytest.mark.parametrize("kind", KINDS)
def test_channels_last_bf16_and_inference_mode(kind):
    net = build_scoring_net(*SMALL[kind])
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


def test_nets_are_contiguous_on_apples_gpus(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert all(p.is_contiguous() for p in build_scoring_net(*SMALL["fcn"]).parameters())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=fcn8s_paper", "model/encoder=unet_small"],
            "needs an encoder with layout 'FCN paper', got 'aligned': use model/encoder=vgg16_fc_paper",
        ),
        (
            ["model=unet", "model/encoder=unet_paper"],
            "needs an encoder with layout 'aligned' or 'rounded down', got 'U-Net paper': use model/encoder=resnet50",
        ),
    ],
)
def test_decoders_name_the_encoder_that_they_need(overrides, message):
    with pytest.raises(SegmentError, match=message):
        build_net(*overrides)


def test_own_layouts():
    class Decoder(UNetDecoder):
        layouts = ("mine",)

    encoder = UNetEncoder(width=4)
    with pytest.raises(SegmentError, match=r"needs an encoder with layout 'mine', got 'aligned'$"):
        SegmentationNet(encoder, Decoder, 2)
    encoder.layout = "mine"
    assert SegmentationNet(encoder, Decoder, 2)(torch.zeros(2, 3, 16, 16)).shape == (2, 2, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet_own", "segnet"])
def test_compiled_nets_give_the_same(kind):
    net = build_scoring_net(*SMALL[kind])
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = net(image)
        net.compile()
        assert torch.allclose(net(image), expected, atol=1e-4 * expected.abs().max())
    assert not any("_orig_mod" in name for name in net.state_dict())


def narrow_paper_net() -> SegmentationNet:
    """Return FCN-8s with the paper's paddings and crops, and few channels, since VGG16's export takes four minutes."""
    blocks = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), CeilMaxPool2d()) for _ in range(5)]
    first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=100), blocks[0])
    stages = [
        (2, first),
        (4, blocks[1]),
        (8, blocks[2]),
        (16, blocks[3]),
        (32, nn.Sequential(blocks[4], nn.Conv2d(4, 4, 7))),
    ]
    encoder = Encoder(stages, dict.fromkeys((2, 4, 8, 16, 32), 4), False)
    encoder.layout = "FCN paper"
    net = SegmentationNet(encoder, partial(PaperFCNDecoder, skip_strides=[16, 8]), 5).eval()
    for parameter in net.decoder.score.parameters():
        nn.init.normal_(parameter)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["timm", "paper"])
def test_export_at_any_size(kind):
    """One graph serves both formats: tracing a net takes ten seconds."""
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    net = ExportedNet(narrow_paper_net() if kind == "paper" else build_scoring_net(*SMALL[kind]), "scores")
    graph = trace_net(net)
    for convert in (to_torch_export, to_onnx):
        content, program = convert(graph, {"output": OUTPUT_TYPES["scores"]})
        assert content
        compare_with_net(program, net)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("fcn", 200), ("unet", 120)])
def test_a_net_overfits_four_real_images(kind, steps):
    """A mIoU above 0.95 on four VOC photos shows that nothing is lost between the net and the labels."""
    quarter = VOCDataModule(str(SHARED / "data" / "voc"), crop_size=(96, 128), scale=(0.25, 0.25), flip=0)
    batch = quarter.dataset("val", augment=True).__getitems__([0, 1, 2, 3])
    image, mask = batch["image"], batch["mask"].long()
    weights = SHARED / "weights" / "mobilenet_v2-b0353104.pth"
    model = {"fcn": "fcn8s", "unet": "unet"}[kind]
    overrides = [f"model={model}", "model/encoder=mobilenet_v2", f"model.encoder.weights={weights}"]
    overrides += ["model.decoder.skip_strides=[16,8,4]"] if kind == "fcn" else []
    net = build_net(*overrides).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = CrossEntropy()(net(net.normalize(image)), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prediction, valid = net(net.normalize(image)).argmax(1), mask != 255
    confusion = torch.bincount(mask[valid] * 21 + prediction[valid], minlength=441).view(21, 21)
    assert confusion_metrics(confusion)["mIoU"] > 0.95
