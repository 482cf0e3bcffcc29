"""Weakly supervised networks: they learn by telling perturbations apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.conv.densenet import DenseNet
from phenomae.models.cost.flops import count_pass, count_weights
from phenomae.models.named_axes import CLASS_HEAD, PATCH_EMBED, NamedAxis
from phenomae.models.network import AnyEncoder, Network, Pixels
from phenomae.models.settings import ClassifierModel, VitClassifierModel
from phenomae.models.sizes import CLASSIFIER_SIZES, VIT_CLASSIFIER_SIZES
from phenomae.models.vit.vit import Vit


@dataclass(frozen=True)
class ClassifierOutput:
    """What a pass with labels gives."""

    logits: Float[Tensor, "b k"]
    """A number for every crop and class; the softmax over classes is the network's guess."""
    losses: dict[str, Float[Tensor, ""]]
    """`loss`, the cross entropy, is what training minimises; `accuracy` is the share of crops
    whose largest logit is their own class's."""


class ClassifyingNetwork(Network[AnyEncoder]):
    """A network that learns by naming what was done to a crop's cells."""

    objective = "phenomae.pretraining.objectives.classifying:ClassifyingObjective"
    has_classes = True
    head: nn.Linear

    def __init__(
        self, settings: object, channels: Sequence[str] | int, classes: Sequence[str]
    ) -> None:
        super().__init__(settings, channels)
        self.classes = tuple(classes)
        """Names of the perturbations; a label is a place in this list."""
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ValueError(
                "a classifier needs two or more classes, each named once, not "
                f"{', '.join(self.classes) or 'none'}"
            )

    def forward(self, pixels: Pixels, labels: Int64[Tensor, " b"]) -> ClassifierOutput:
        """Guess the classes of crops, and measure how well; labels count from 0."""
        logits = self.classify(self.encoder.embed(pixels)).float()
        right = logits.detach().argmax(1) == labels
        losses = {
            "loss": functional.cross_entropy(logits, labels),
            "accuracy": right.float().mean(),
        }
        return ClassifierOutput(logits, losses)

    def classify(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Return a number for every embedding and class."""
        return self.head(vectors)

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward."""
        label = torch.zeros(1, dtype=torch.int64, device="meta")
        return count_pass(self, lambda: self(self.meta_crop(), label), training=True)


class Classifier(ClassifyingNetwork[DenseNet]):
    """DenseNet as a classifier; the embedding is the narrow layer before the classes.

    The classes are linear in the embedding, without norm or ReLU between: what tells them apart
    then lies in the vector itself and keeps both its signs, so that cosines can see it.
    """

    family = "classifier"
    Settings = ClassifierModel
    SIZES = CLASSIFIER_SIZES
    objective = "phenomae.pretraining.objectives.adabn:AdaBnObjective"
    encoder_type = DenseNet
    named_axes = (
        NamedAxis("encoder.blocks.0.0.0.weight", "d n i j -> n d i j", summed=True),
        NamedAxis("encoder.input_norm.running_*", "n -> n"),
        CLASS_HEAD,
    )

    def __init__(
        self, settings: ClassifierModel, channels: Sequence[str] | int, classes: Sequence[str]
    ) -> None:
        super().__init__(settings, channels, classes)
        self.encoder = DenseNet(settings, len(self.channels))
        self.head = nn.Linear(settings.neck_dim, len(self.classes))


class VitClassifier(ClassifyingNetwork[Vit]):
    """Vision transformer as a classifier; the embedding is the mean over the patches."""

    family = "vit-classifier"
    Settings = VitClassifierModel
    SIZES = VIT_CLASSIFIER_SIZES
    encoder_type = Vit
    named_axes = (PATCH_EMBED, CLASS_HEAD)

    def __init__(
        self, settings: VitClassifierModel, channels: Sequence[str] | int, classes: Sequence[str]
    ) -> None:
        super().__init__(settings, channels, classes)
        self.encoder = Vit(settings, len(self.channels))
        self.encoder.fc_norm.requires_grad_(True)
        self.head = nn.Linear(settings.embed_dim, len(self.classes))

    def classify(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Return a number for every embedding and class; a norm comes first."""
        return self.head(self.encoder.fc_norm(vectors))

    def embedding_flops(self) -> int:
        """Return the FLOPs of embedding one crop of the settings' size."""
        return self.encoder.flops(self.settings.patches)

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward."""
        patches = self.settings.patches
        forward = self.encoder.flops(patches) + 2 * count_weights(self.head)
        # Pixels need no gradient, so the backward pass of the first layer costs half as much.
        return 3 * forward - 2 * count_weights(self.encoder.patch_embed) * patches
