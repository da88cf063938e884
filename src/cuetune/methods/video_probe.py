"""Features of clips for a linear probe: the frozen model's states of all frames, in their order and averaged."""

from torch import Tensor

from cuetune.backbones.video import FramesBackbone
from cuetune.methods.image_probe import PictureFeatures, called


class ClipFeatures(PictureFeatures):
    """As those of pictures; of a model that sees frames alone, the frames' states in order, and their mean.

    The mean, the usual choice, is the same for a clip that is played backwards.
    """

    def read(self, pixels: Tensor) -> dict[str, Tensor]:
        if not isinstance(self.backbone, FramesBackbone):
            return super().read(pixels)
        found = {}
        for layer, pooling in self.reads:
            states = self.backbone.hidden(pixels, layer=layer, pooling=pooling)
            name = called(layer, pooling)
            found[f"{name}, frames in order"] = states
            found[f"{name}, mean over frames"] = states.view(len(states), self.backbone.frames, -1).mean(dim=1)
        return found
