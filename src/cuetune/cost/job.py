"""A tuning job before it runs, and the rates that turn its operations into hours, energy and dollars."""

from pydantic import BaseModel, ConfigDict, Field

from cuetune.cost.prices import Prices


class Job(BaseModel):
    """What is to be tuned. A late prompt has new states at every layer from `layer` on.

    Each field is also an option of `cuetune cost`; the description is its help.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: int = Field(10_000, ge=1, le=10**12, description="Training rows.")
    tokens: int = Field(128, ge=1, le=10**7, description="Mean tokens per row.")
    epochs: float = Field(3, gt=0, le=10**6, description="Passes over the rows.")
    batch_size: int = Field(16, ge=1, le=10**6, description="Rows per step.")
    length: int = Field(20, ge=1, le=10**6, description="Number of virtual tokens.")
    words: int = Field(2, ge=1, le=10**6, description="Number of label words.")
    rank: int = Field(8, ge=1, le=10**5, description="Rank of LoRA on queries and values.")
    layer: int | None = Field(None, ge=0, description="Layer where a late prompt enters. Default: 2/3 of the depth.")

    def symbols(self) -> dict[str, float]:
        """These numbers by their letters in formulas (`formulas.SYMBOLS`)."""
        run = {"n": self.examples, "T": self.tokens, "E": self.epochs, "B": self.batch_size}
        return {**run, "P": self.length, "W": self.words, "r": self.rank}


class Rates(BaseModel):
    """What turns operations into hours and dollars.

    Llama 3 was trained at a utilisation of 38 to 43 % (Grattafiori et al. 2024, table 4); small batches reach less.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: str = Field("h100", description="GPU: {gpus}, or one of --prices.")
    utilisation: float = Field(0.4, gt=0, le=1, description="Share of the GPU's peak speed that is reached, 0 to 1.")
    price_per_hour: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="US dollars per GPU-hour. Default: the table's price."
    )
    prices: Prices = Prices()

    def symbols(self) -> dict[str, float]:
        """These numbers by their letters in formulas (`formulas.SYMBOLS`). Raises CuetuneError for an unknown GPU."""
        gpu, prices = self.prices.gpu(self.gpu), self.prices
        price = gpu.usd_per_hour if self.price_per_hour is None else self.price_per_hour
        card = {"M": gpu.memory_gib * 2**30, "u": self.utilisation, "R": gpu.peak_tflops * 1e12, "w": gpu.watts}
        return {**card, "p": price, "pue": prices.pue, "c": prices.kg_co2_per_kwh, "q": prices.usd_per_kwh}
