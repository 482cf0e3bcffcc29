"""Counts the floating-point operations of a crop: a product and a sum are two.

Matrix products, convolutions and attention are counted; norms and the like are less than a
hundredth and are not. A weight is used once at every position it is applied to, and attention takes
two products of all queries with all tokens.
"""

from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor, nn

from phenomae.models.classifier import ClassifyingNetwork, VitClassifier
from phenomae.models.conv.convolutions import ConvolutionalEncoder
from phenomae.models.conv.unet_mae import UnetMae
from phenomae.models.network import Network
from phenomae.models.settings import kept_patches
from phenomae.models.vit.channel_decoder import ChannelLinear
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.decoder import Block
from phenomae.models.vit.vit import Vit
from phenomae.models.vit.vit_mae import VitMae

_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, ChannelLinear)


def count_embedding_flops(model: Network) -> int:
    """Return what embedding one crop of the model's size takes."""
    encoder = model.encoder
    if isinstance(encoder, Vit):
        return _count_vit(encoder, model.settings.patches * _channel_rows(model))
    assert isinstance(encoder, ConvolutionalEncoder)
    return _count_convolutions(model, encoder.embed)


@singledispatch
def count_training_flops(model: Network) -> int:
    """Return what one crop takes in a step of training: forwards, and twice that backwards.

    Hidden patches are counted only where they are computed. The first layer's input, the pixels,
    needs no gradient.
    """
    raise NotImplementedError(type(model))


@count_training_flops.register
def _(model: VitMae) -> int:
    settings, decoder = model.settings, model.decoder
    patches = settings.patches
    kept = kept_patches(patches, settings.mask_ratio)
    tokens, dim = 1 + patches, settings.decoder_embed_dim
    predicted = patches if settings.fourier_weight > 0 else patches - kept
    *inner, last = [block for block in decoder.blocks if isinstance(block, Block)]
    forward = _count_vit(model.encoder, kept)
    forward += 2 * _weights(decoder.embed) * (1 + kept)
    forward += sum(2 * _weights(block) * tokens + 4 * tokens**2 * dim for block in inner)
    after = _weights(last) - _weights(last.qkv)  # the last block's queries are what is predicted
    forward += 2 * _weights(last.qkv) * tokens + 2 * after * predicted
    forward += 4 * predicted * tokens * dim
    forward += 2 * _weights(decoder.pred) * predicted
    return 3 * forward - 2 * _weights(model.encoder.patch_embed) * kept


@count_training_flops.register
def _(model: ChannelMae) -> int:
    settings, decoder = model.settings, model.decoder
    channels, dim = len(model.channels), settings.decoder_embed_dim
    patches = channels * settings.patches
    kept = kept_patches(patches, settings.mask_ratio)
    forward = _count_vit(model.encoder, kept)
    forward += 2 * _weights(decoder.embed) * kept
    shared = (decoder.cross_attention, decoder.fc1, decoder.fc2, decoder.pred)
    forward += 2 * sum(_weights(part) for part in shared) * patches + 4 * patches**2 * dim
    own = _weights(decoder.blocks) // channels  # a token passes the blocks of its channel alone
    forward += 2 * own * patches + len(decoder.blocks) * 4 * patches * settings.patches * dim
    return 3 * forward - 2 * _weights(model.encoder.patch_embed) * kept


@count_training_flops.register
def _(model: VitClassifier) -> int:
    patches = model.settings.patches
    forward = _count_vit(model.encoder, patches) + 2 * _weights(model.head)
    return 3 * forward - 2 * _weights(model.encoder.patch_embed) * patches


@count_training_flops.register
def _(model: UnetMae) -> int:
    noise = torch.empty(1, model.settings.patches, device="meta")
    return _count_convolutions(model, lambda pixels: model(pixels, noise, full=False), True)


@count_training_flops.register
def _(model: ClassifyingNetwork) -> int:
    label = torch.zeros(1, dtype=torch.int64, device="meta")
    return _count_convolutions(model, lambda pixels: model(pixels, label), True)


def _channel_rows(model: Network) -> int:
    """Return how many rows of patches a place in a crop has: one a channel, or one for all."""
    return len(model.channels) if isinstance(model, ChannelMae) else 1


def _count_vit(encoder: Vit, patches: int) -> int:
    """Return what the encoder makes of so many patches of a crop, and the class token."""
    tokens, dim = 1 + patches, len(encoder.cls_token)
    blocks = 2 * _weights(encoder.blocks) * tokens + encoder.depth * 4 * tokens**2 * dim
    return 2 * _weights(encoder.patch_embed) * patches + blocks


def _weights(module: nn.Module) -> int:
    """Return how many numbers the matrices of a module hold."""
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, _WEIGHTED))


def _count_convolutions(
    model: Network, run: Callable[[Tensor], object], training: bool = False
) -> int:
    """Count while a crop passes; `model` has to be on torch's meta device, so nothing is computed.

    In training every layer but the first is run three times as long, the first twice.
    """
    counts: list[int] = []

    def count(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        image = inputs[0] if isinstance(part, nn.ConvTranspose2d) else output
        positions = image[:, :1].numel() if image.ndim == 4 else len(image)
        counts.append(2 * _weights(part) * positions)

    layers = [part for part in model.modules() if isinstance(part, _WEIGHTED)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    size = model.settings.crop_size
    run(torch.empty(1, len(model.channels), size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return 3 * sum(counts) - counts[0] if training else sum(counts)
