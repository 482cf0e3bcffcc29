"""Settings of public encoders, and the rule that other networks do not take them."""

from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real
from typing import Annotated, Literal, get_args

from cyclopts import Group, Parameter

from phenomae.checks import above, at_least, one_of, require, whole_numbers
from phenomae.paths import PathLike

PREFIX = "hf:"
ChannelsAs = Literal["grey", "rgb"]
Intensities = Literal["plate", "crop"]
Numbers = Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True, negative=())]


ENCODER = Parameter(group=Group.create_ordered("Public encoders (hf:...)"))
"""Group of these settings in the help of `embed`."""


def is_public_encoder(run: PathLike) -> bool:
    """Return whether the network to embed with is a public encoder."""
    return str(run).startswith(PREFIX)


@Parameter(name="*")
@dataclass(frozen=True)
class PublicEncoderSettings:
    """How crops of a store become the images of a public encoder (hf:...)."""

    channels_as: ChannelsAs = "grey"
    """grey embeds each channel by itself, as a grey image that fills all channels of the model, and
    puts the embeddings side by side, in the order of the channels. rgb makes one image of three
    channels, which `channels` names in the order red, green, blue: `DNA,ER,AGP`."""
    crop_size: int | None = None
    """Side of the crops that are cut, in pixels. Default: input_size: crops are not resized."""
    input_size: int | None = None
    """Side of the images that the model sees, a multiple of its patch size, to which crops are
    resized. Default: that of the model's preprocessor_config.json."""
    intensities: Intensities = "plate"
    """Intensities that become 0 and 1: plate uses the window of plate and channel of the store;
    crop uses, after that, the minimum and maximum of each crop and channel."""
    image_mean: Numbers = None
    """Mean of each channel of the model, which is subtracted from intensities from 0 to 1. Default:
    that of preprocessor_config.json."""
    image_std: Numbers = None
    """Standard deviation of each channel of the model. Default: that of preprocessor_config.json.
    """

    def __post_init__(self) -> None:
        whole_numbers(self)
        one_of("channels_as", self.channels_as, get_args(ChannelsAs))
        one_of("intensities", self.intensities, get_args(Intensities))
        at_least("crop_size", self.crop_size, 1)
        at_least("input_size", self.input_size, 1)
        for name in ("image_mean", "image_std"):  # a number from Python
            if isinstance(value := getattr(self, name), Real):
                object.__setattr__(self, name, (float(value),))
        for mean in self.image_mean or ():
            require(isfinite(mean), "image_mean", "finite numbers", mean)
        for deviation in self.image_std or ():
            above("image_std", deviation, 0)
        both = (self.image_mean is None) == (self.image_std is None)
        require(both, "image_mean", "given together with image_std, or neither", self.image_mean)

    def refuse_for(self, run: PathLike) -> None:
        """Raise ValueError if a setting is given for a network that is no public encoder."""
        for item in fields(self):
            if getattr(self, item.name) != item.default:
                raise ValueError(
                    f"{item.name} is a setting of public encoders (hf:...): leave it out for {run}"
                )
