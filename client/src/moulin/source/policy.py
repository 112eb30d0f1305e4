"""What may differ, what is sampled, and what a file may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from moulin import _argument as argument
from moulin import _options as options
from moulin.source.words import ContractMode, words

_U32 = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What may differ between the rows and the schema: the declared columns, and the table when it is there.

    `docs/reference/source.md` has the meaning of every field and mode.
    """

    tables: ContractMode = "evolve"
    columns: ContractMode = "evolve"
    types: ContractMode = "evolve"

    def __post_init__(self) -> None:
        for field in fields(self):
            argument.choice(f"contract {field.name}", getattr(self, field.name), words(ContractMode))

    def to_dict(self) -> dict[str, Any]:
        """The modes that are not `evolve`."""
        return options.to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """How much is read to infer types."""

    sample_rows: int = 10_000
    sample_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        argument.count("inference sample_rows", self.sample_rows, least=1)
        argument.count("inference sample_bytes", self.sample_bytes, least=1)

    def to_dict(self) -> dict[str, Any]:
        """The bounds that are not the default."""
        return options.to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """What a hostile or broken file may cost at the most. `docs/reference/source.md` has the units."""

    field_bytes: int = 16 << 20
    record_bytes: int = 64 << 20
    columns: int = 20_000
    depth: int = 128
    inflation_ratio: int = 1_000
    inflated_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("field_bytes", "record_bytes"):
            argument.count(f"limits {name}", getattr(self, name), least=1)
        for name in ("columns", "depth", "inflation_ratio"):
            argument.count(f"limits {name}", getattr(self, name), _U32, least=1)
        if self.inflated_bytes is not None:
            argument.count("limits inflated_bytes", self.inflated_bytes, least=1)

    def to_dict(self) -> dict[str, Any]:
        """The limits that are not the default."""
        return options.to_dict(self)
