"""The LightningModule: loss and its scale, random numbers, schedule, and the metadata of checkpoints."""

import io
from functools import partial
from types import SimpleNamespace

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.optim.lr_scheduler import ConstantLR, PolynomialLR
from torch.utils._python_dispatch import TorchDispatchMode

from segment.data.datasets.shapes import SHAPES
from segment.errors import SegmentError
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.training.losses import CrossEntropy
from segment.training.module import SegmentationModule
from segment.training.progress import EpochBar, Throughput


def make_module(loss=None, optimizer=None, scheduler=None, depth=4, **trainer) -> SegmentationModule:
    """Return a module with a trainer that has nothing but the given attributes."""
    torch.manual_seed(0)
    net = SegmentationNet(UNetEncoder(width=4, first_stride=2, depth=depth), FCNDecoder, num_classes=6)
    module = SegmentationModule(net, SHAPES, loss or CrossEntropy(), optimizer, scheduler, {"model": "a"}, seed=3)
    defaults = {"world_size": 1, "accumulate_grad_batches": 1, "global_step": 5, "current_epoch": 2, "callbacks": []}
    module.trainer = SimpleNamespace(**{**defaults, **trainer})
    module.log = lambda *arguments, **options: None
    return module


def batch(side: int = 48) -> dict:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=generator)
    mask = torch.randint(0, 6, (2, side, side), dtype=torch.uint8, generator=generator)
    return {"image": image, "mask": mask, "id": ["one", "two"]}


def test_a_summed_loss_makes_up_for_averaged_gradients():
    mean = make_module(world_size=2, accumulate_grad_batches=3).training_step(batch(), 0).detach()
    assert float(mean) == pytest.approx(float(make_module().training_step(batch(), 0).detach()))
    one = make_module(CrossEntropy("sum")).training_step(batch(), 0).detach()
    parts = make_module(CrossEntropy("sum"), world_size=2, accumulate_grad_batches=3).training_step(batch(), 0).detach()
    assert float(parts) == pytest.approx(6 * float(one))


@pytest.mark.parametrize("label", [255, 0])
def test_a_training_split_without_a_label_is_said(label, capsys):
    module = make_module(global_rank=0)
    module.training_step({**batch(), "mask": torch.full((2, 48, 48), label)}, 0)
    module.on_train_epoch_end()
    module.on_train_epoch_end()
    assert capsys.readouterr().out.count("the loss was 0 throughout: is a pixel of the training split labelled") == (
        label == 255
    )


def test_a_loss_for_another_number_of_classes_is_refused_at_once():
    with pytest.raises(SegmentError, match=r"loss.class_weights has 2 values for 6 classes"):
        make_module(CrossEntropy(class_weights=[1, 2]))


def test_a_loss_that_is_not_finite_names_step_and_images():
    module = make_module()
    with torch.no_grad():
        next(module.net.parameters()).fill_(float("nan"))
    with pytest.raises(SegmentError, match=r"^the loss is nan at step 5 \(epoch 2, images one, two\): lower optimizer"):
        module.training_step(batch(), 0)


@pytest.mark.parametrize("then", [lambda m: m.on_save_checkpoint({}), lambda m: m.on_validation_start()])
def test_a_gpu_is_read_every_few_steps_and_before_weights_are_kept(monkeypatch, then):
    """The message names the first loss that is not finite, not the step at which it was read."""
    monkeypatch.setattr("segment.training.module.steps_between_reads", lambda device: 3)
    module = make_module()
    module.training_step(batch(), 0)
    good = module.net.state_dict(keep_vars=True)
    with torch.no_grad():
        next(iter(good.values())).fill_(float("nan"))
    module.trainer.global_step = 6
    module.training_step(batch(), 1)
    with pytest.raises(SegmentError, match=r"^the loss is nan at step 6 "):
        then(module)
    module.trainer.global_step = 7
    module.training_step(batch(), 2)
    module.training_step(batch(), 3)
    with pytest.raises(SegmentError, match=r"^the loss is nan at step 7 "):
        module.training_step(batch(), 4)


class Reads(TorchDispatchMode):
    """Count the numbers that are read from the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.slow
def test_a_step_does_not_read_the_device(tmp_path, monkeypatch):
    """On a GPU each number that is read waits until it is idle: only rows of the log and the bar may."""
    monkeypatch.setattr("segment.training.module.steps_between_reads", lambda device: 8)
    monkeypatch.setattr("segment.training.progress.time.monotonic", lambda: 1.0)  # the bar is drawn by the clock
    module = SegmentationModule(make_module().net, SHAPES, CrossEntropy(), partial(torch.optim.SGD, lr=0.01))
    options = {"max_epochs": 1, "limit_val_batches": 0, "log_every_n_steps": 10, "default_root_dir": tmp_path}
    quiet = {"enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
    bar = EpochBar(4, console_kwargs={"file": io.StringIO()})
    trainer = lightning.Trainer(**options, **quiet, logger=CSVLogger(tmp_path), callbacks=[bar, Throughput()])
    with Reads() as reads:
        trainer.fit(module, torch.utils.data.DataLoader([batch()] * 40, batch_size=None))
    assert trainer.global_step == 40
    assert reads.count < 25


def test_a_batch_norm_with_one_value_per_channel_is_explained():
    one = {key: value[:1] for key, value in batch(side=16).items()}
    with pytest.raises(SegmentError, match=r"raise data.batch_size to 2 or more$"):
        make_module(depth=5).training_step(one, 0)


def test_random_numbers_depend_on_seed_epoch_batch_and_process_alone():
    def draw(batch_idx: int, **changes) -> float:
        module = make_module(**{"current_epoch": 2, "global_rank": 0, **changes})
        module.on_train_batch_start(batch(), batch_idx)
        return float(torch.rand(()))

    torch.rand(7)
    assert draw(1) == draw(1)
    assert len({draw(1), draw(2), draw(1, current_epoch=3), draw(1, global_rank=1)}) == 4


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=0.1)


def poly(optimizer, total_steps):
    return PolynomialLR(optimizer, total_steps)


def test_a_schedule_gets_the_number_of_steps_if_it_needs_a_plan():
    def options(scheduler, steps):
        module = make_module(optimizer=sgd, scheduler=scheduler, estimated_stepping_batches=steps)
        return module.configure_optimizers()

    assert options(poly, 12)["lr_scheduler"]["scheduler"].total_iters == 12
    assert options(poly, 12)["lr_scheduler"]["interval"] == "step"
    with pytest.raises(SegmentError, match=r"^this schedule needs an end: set trainer.max_epochs or max_steps"):
        options(poly, float("inf"))
    assert isinstance(
        options(lambda optimizer: ConstantLR(optimizer), float("inf"))["lr_scheduler"]["scheduler"], ConstantLR
    )
    assert isinstance(options(None, 12), torch.optim.SGD)
    with pytest.raises(SegmentError, match="built without an optimiser: it can evaluate, not train"):
        make_module().configure_optimizers()


def test_a_resumed_run_keeps_its_plan():
    first = make_module(optimizer=sgd, scheduler=poly, estimated_stepping_batches=12)
    first.configure_optimizers()
    checkpoint = {"callbacks": {}}
    first.on_save_checkpoint(checkpoint)
    assert checkpoint[METADATA] == {"model": "a", "planned_steps": 12}
    for steps, message in ((12, None), (20, r"^resume: .* planned for 12 steps, this run has 20: leave trainer")):
        second = make_module(optimizer=sgd, scheduler=poly, estimated_stepping_batches=steps)
        second.on_load_checkpoint(checkpoint)
        if message is None:
            second.configure_optimizers()
        else:
            with pytest.raises(SegmentError, match=message):
                second.configure_optimizers()


def test_validation_gives_its_result_to_the_callbacks():
    logged, given = {}, []
    callback = SimpleNamespace(on_evaluation=lambda trainer, module, evaluation: given.append(evaluation))
    module = make_module(callbacks=[object(), callback], val_dataloaders=SimpleNamespace(dataset=[0, 1]))
    module.log = lambda name, value, **options: logged.update({name: value})
    module.eval().validation_step(batch(), 0)
    module.on_validation_epoch_end()
    (evaluation,) = given
    assert evaluation.counts.shape == (2, 3, 6)
    assert logged["val/mIoU"] == evaluation.metrics["mIoU"]
    assert "val/per_class_IoU" not in logged
