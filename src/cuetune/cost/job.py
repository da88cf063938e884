"""A tuning job before it runs, and the rates that turn its operations into hours, energy and dollars."""

from pydantic import BaseModel, ConfigDict, Field

from cuetune.cost.prices import Prices


class Job(BaseModel):
    """What is to be tuned: `examples` of `tokens` tokens each, `epochs` times, in batches of `batch_size`.

    length: virtual tokens. words: label words scored. rank: of LoRA on queries and values. layer: where a late prompt
    enters, None for two thirds of the depth; it has new states at every layer from there on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: int = Field(10_000, ge=1, le=10**12)
    tokens: int = Field(128, ge=1, le=10**7)
    epochs: float = Field(3, gt=0, le=10**6)
    batch_size: int = Field(16, ge=1, le=10**6)
    length: int = Field(20, ge=1, le=10**6)
    words: int = Field(2, ge=1, le=10**6)
    rank: int = Field(8, ge=1, le=10**5)
    layer: int | None = Field(None, ge=0)

    def symbols(self) -> dict[str, float]:
        """These numbers by their letters in formulas (`formulas.SYMBOLS`)."""
        run = {"n": self.examples, "T": self.tokens, "E": self.epochs, "B": self.batch_size}
        return {**run, "P": self.length, "W": self.words, "r": self.rank}


class Rates(BaseModel):
    """What turns operations into hours and dollars.

    gpu: a name in `prices`. utilisation: the share of the GPU's peak that a run reaches; Llama 3 was trained at 38 to
    43 % (Grattafiori et al. 2024, table 4), small batches reach less. price_per_hour: instead of the table's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: str = "h100"
    utilisation: float = Field(0.4, gt=0, le=1)
    price_per_hour: float | None = Field(None, ge=0, allow_inf_nan=False)
    prices: Prices = Prices()

    def symbols(self) -> dict[str, float]:
        """These numbers by their letters in formulas (`formulas.SYMBOLS`). Raises CuetuneError for an unknown GPU."""
        gpu, prices = self.prices.gpu(self.gpu), self.prices
        price = gpu.usd_per_hour if self.price_per_hour is None else self.price_per_hour
        card = {"M": gpu.memory_gib * 2**30, "u": self.utilisation, "R": gpu.peak_tflops * 1e12, "w": gpu.watts}
        return {**card, "p": price, "pue": prices.pue, "c": prices.kg_co2_per_kwh, "q": prices.usd_per_kwh}
