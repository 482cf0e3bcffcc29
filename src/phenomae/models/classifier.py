"""Weakly supervised networks, which are trained to predict the perturbation of a crop.

The labels are weak: they come from the plate map, and a perturbation may have no effect.
"""

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
    """Output of a forward pass with labels."""

    logits: Float[Tensor, "b k"]
    """Unnormalised log-probabilities of the classes."""
    losses: dict[str, Float[Tensor, ""]]
    """`loss`, the cross entropy, which training minimises; and `accuracy`, the fraction of crops
    whose true class has the largest logit."""


class ClassifyingNetwork(Network[AnyEncoder]):
    """An encoder with a linear head that predicts the perturbation of a crop."""

    objective = "phenomae.pretraining.objectives.classifying:ClassifyingObjective"
    has_classes = True
    head: nn.Linear

    def __init__(
        self, settings: object, channels: Sequence[str] | int, classes: Sequence[str]
    ) -> None:
        super().__init__(settings, channels)
        self.classes = tuple(classes)
        """Names of the perturbations; a label is an index into `classes`."""
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ValueError(
                "classes must be two or more different names, not "
                f"{', '.join(self.classes) or 'none'}"
            )

    def forward(self, pixels: Pixels, labels: Int64[Tensor, " b"]) -> ClassifierOutput:
        """Predict the classes of crops and return the losses; labels count from 0."""
        # float32, because the cross entropy of bf16 logits would lose digits.
        logits = self.classify(self.encoder.embed(pixels)).float()
        right = logits.detach().argmax(1) == labels
        losses = {
            "loss": functional.cross_entropy(logits, labels),
            "accuracy": right.float().mean(),
        }
        return ClassifierOutput(logits, losses)

    def classify(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Return the logits of embeddings."""
        return self.head(vectors)

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward."""
        label = torch.zeros(1, dtype=torch.int64, device="meta")
        return count_pass(self, lambda: self(self.meta_crop(), label), training=True)


class Classifier(ClassifyingNetwork[DenseNet]):
    """DenseNet as a classifier; the embedding is the output of the narrow layer before the head.

    There is neither norm nor ReLU between embedding and head, so that the classes are separated by
    linear functions of the embedding, with entries of both signs, as cosine similarity needs.
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
        # `Vit` freezes this norm, which other families do not use.
        self.encoder.fc_norm.requires_grad_(True)
        self.head = nn.Linear(settings.embed_dim, len(self.classes))

    def classify(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Return the logits of embeddings: a LayerNorm, then the linear head."""
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
