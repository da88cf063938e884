"""A prompt in front of what a decoder writes: keys and values in its layers, on frozen states of what it hears."""

from cuetune.prompts.prefix import PrefixPrompt


class ToldPrompt(PrefixPrompt):
    """A prefix (Li & Liang 2021) of the decoder's layers alone, which are numbered on from the encoder's.

    The encoder's states below it do not depend on it: they are computed once for every audio file.
    """

    kind = "decoder-prefix"

    @property
    def frozen_below(self) -> int:
        return self.first
