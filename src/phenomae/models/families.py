"""The table of network families; a line in `FAMILIES` registers a family.

A family is a class derived from `phenomae.models.network.Network`, whose attributes define the
settings, published sizes, objective, FLOPs, and how a warm start maps channels. The classes are
named by strings, so that the command line can list the families without importing torch.
"""

# The order is that of `phenomae pretrain --help` and `phenomae models`.
FAMILIES: dict[str, tuple[str, str]] = {
    "vit-mae": ("phenomae.models.vit.vit_mae:VitMae", "Masked autoencoder, ViT."),
    "channel-mae": (
        "phenomae.models.vit.channel_mae:ChannelMae",
        "Masked autoencoder, ViT, for any channels.",
    ),
    "energy-mae": (
        "phenomae.models.vit.energy_mae:EnergyMae",
        "Masked autoencoder, ViT, that predicts energies of structures.",
    ),
    "unet-mae": ("phenomae.models.conv.unet_mae:UnetMae", "Masked autoencoder, U-Net."),
    "classifier": ("phenomae.models.classifier:Classifier", "Weakly supervised DenseNet."),
    "vit-classifier": ("phenomae.models.classifier:VitClassifier", "Weakly supervised ViT."),
}
"""By family: the network class as "module:Class", and a line of help."""
