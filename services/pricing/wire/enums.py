"""The words of the contract and those of the domain, both ways. An enum value that is missing here is refused."""

from __future__ import annotations

from typing import Final

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from services.pricing.domain.book import FeeBasis
from services.pricing.domain.exact import RoundingMode, RoundingPoint
from services.pricing.domain.line import LineKind, TaxBehavior, TaxTreatment, VatLiability
from services.pricing.domain.price import RowKind, Stage
from services.pricing.domain.terms import Direction, Funder

KINDS: Final = {
    price_book_pb2.LINE_KIND_SESSION: LineKind.SESSION,
    price_book_pb2.LINE_KIND_RESERVATION: LineKind.RESERVATION,
    price_book_pb2.LINE_KIND_GOODS: LineKind.GOODS,
    price_book_pb2.LINE_KIND_DIGITAL: LineKind.DIGITAL,
}
BEHAVIORS: Final = {
    price_book_pb2.TAX_BEHAVIOR_UNSPECIFIED: TaxBehavior.INCLUSIVE,
    price_book_pb2.TAX_BEHAVIOR_INCLUSIVE: TaxBehavior.INCLUSIVE,
    price_book_pb2.TAX_BEHAVIOR_EXCLUSIVE: TaxBehavior.EXCLUSIVE,
}
TREATMENTS: Final = {
    price_book_pb2.TAX_TREATMENT_UNSPECIFIED: TaxTreatment.TAXABLE,
    price_book_pb2.TAX_TREATMENT_TAXABLE: TaxTreatment.TAXABLE,
    price_book_pb2.TAX_TREATMENT_REVERSE_CHARGE: TaxTreatment.REVERSE_CHARGE,
    price_book_pb2.TAX_TREATMENT_EXEMPT: TaxTreatment.EXEMPT,
}
LIABILITIES: Final = {
    price_book_pb2.VAT_LIABILITY_UNSPECIFIED: VatLiability.SELLER,
    price_book_pb2.VAT_LIABILITY_SELLER: VatLiability.SELLER,
    price_book_pb2.VAT_LIABILITY_PLATFORM: VatLiability.PLATFORM,
}
DIRECTIONS: Final = {
    price_book_pb2.ADJUSTMENT_DIRECTION_DISCOUNT: Direction.DISCOUNT,
    price_book_pb2.ADJUSTMENT_DIRECTION_SURCHARGE: Direction.SURCHARGE,
}
FUNDERS: Final = {
    price_book_pb2.FUNDER_PLATFORM: Funder.PLATFORM,
    price_book_pb2.FUNDER_SELLER: Funder.SELLER,
}
BASES: Final = {
    price_book_pb2.FEE_BASIS_UNSPECIFIED: FeeBasis.BASE,
    price_book_pb2.FEE_BASIS_BASE: FeeBasis.BASE,
    price_book_pb2.FEE_BASIS_NET: FeeBasis.NET,
    price_book_pb2.FEE_BASIS_GROSS: FeeBasis.GROSS,
}
POINTS: Final = {
    pricing_pb2.ROUNDING_POINT_UNSPECIFIED: RoundingPoint.PER_LINE,
    pricing_pb2.ROUNDING_POINT_PER_LINE: RoundingPoint.PER_LINE,
    pricing_pb2.ROUNDING_POINT_PER_TOTAL: RoundingPoint.PER_TOTAL,
}
MODES: Final = {
    pricing_pb2.ROUNDING_MODE_UNSPECIFIED: RoundingMode.HALF_UP,
    pricing_pb2.ROUNDING_MODE_HALF_UP: RoundingMode.HALF_UP,
    pricing_pb2.ROUNDING_MODE_HALF_EVEN: RoundingMode.HALF_EVEN,
}

# Back again: the unspecified value of the contract stands first above, so the word that says it in full wins.
KIND_NUMBERS: Final = {word: number for number, word in KINDS.items()}
BEHAVIOR_NUMBERS: Final = {word: number for number, word in BEHAVIORS.items()}
TREATMENT_NUMBERS: Final = {word: number for number, word in TREATMENTS.items()}
LIABILITY_NUMBERS: Final = {word: number for number, word in LIABILITIES.items()}
POINT_NUMBERS: Final = {word: number for number, word in POINTS.items()}
MODE_NUMBERS: Final = {word: number for number, word in MODES.items()}

DIRECTION_NUMBERS: Final = {word: number for number, word in DIRECTIONS.items()}
FUNDER_NUMBERS: Final = {word: number for number, word in FUNDERS.items()}
BASIS_NUMBERS: Final = {word: number for number, word in BASES.items()}

ROW_KIND_NUMBERS: Final = {
    RowKind.LINE: pricing_pb2.ROW_KIND_LINE,
    RowKind.ADJUSTMENT: pricing_pb2.ROW_KIND_ADJUSTMENT,
    RowKind.VAT: pricing_pb2.ROW_KIND_VAT,
    RowKind.PLATFORM_FEE: pricing_pb2.ROW_KIND_PLATFORM_FEE,
    RowKind.PLATFORM_FEE_VAT: pricing_pb2.ROW_KIND_PLATFORM_FEE_VAT,
}
STAGE_NUMBERS: Final = {
    Stage.BASE_LINES: pricing_pb2.STAGE_BASE_LINES,
    Stage.ADJUSTMENTS: pricing_pb2.STAGE_ADJUSTMENTS,
    Stage.TAX: pricing_pb2.STAGE_TAX,
    Stage.PLATFORM_FEE: pricing_pb2.STAGE_PLATFORM_FEE,
}
