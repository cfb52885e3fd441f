"""`untouched` restores a model, and `seeded` the state of torch's global generator."""

from contextlib import suppress

import torch
from torch import nn

from evident.explainers.shared.seeding import image_generator, image_seed, seeded
from evident.models.untouched import untouched


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))


def test_body_has_gradients_and_eval_mode_but_frozen_weights() -> None:
    model = network()
    with torch.no_grad(), untouched(model):
        assert torch.is_grad_enabled()
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_modes_hooks_and_gradients_are_restored_after_an_exception() -> None:
    model = network()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    handle = model[0].register_forward_hook(lambda *_: None)
    with suppress(ZeroDivisionError), untouched(model):
        model.train()
        model.requires_grad_(True)
        model[0].register_forward_pre_hook(lambda *_: None)
        model[1].register_full_backward_hook(lambda *_: None)
        handle.remove()
        _ = 1 / 0
    assert [module.training for module in model.modules()] == [True, True, False, False, False]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["0.bias"]
    assert len(model[0]._forward_hooks) == 1
    assert not model[0]._forward_pre_hooks
    assert not model[1]._backward_hooks
    assert model[1]._is_full_backward_hook is None
    handle.remove()
    assert not model[0]._forward_hooks


def test_attributes_that_the_body_adds_are_removed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    before = [set(vars(module)) for module in model.modules()]
    with suppress(ZeroDivisionError), untouched(model):
        model[1].input = torch.zeros(1)
        _ = 1 / 0
    assert [set(vars(module)) for module in model.modules()] == before


def test_image_seed_depends_on_seed_pixels_and_shape() -> None:
    image = torch.rand(3, 4, 6)
    assert image_seed(image, 1) == image_seed(image.clone(), 1)
    others = [image_seed(image, 2), image_seed(image.flip(1), 1), image_seed(image.view(3, 6, 4), 1)]
    assert image_seed(image, 1) not in others
    draws = [torch.rand(5, generator=image_generator(image, 1)) for _ in range(2)]
    assert torch.equal(*draws)


def test_seeded_restores_the_global_generator_after_an_exception() -> None:
    image = torch.rand(3, 4, 4)
    state = torch.get_rng_state()
    with suppress(ZeroDivisionError), seeded(image, 1):
        first = torch.rand(5)
        _ = 1 / 0
    assert torch.equal(torch.get_rng_state(), state)
    with seeded(image, 1):
        assert torch.equal(torch.rand(5), first)
