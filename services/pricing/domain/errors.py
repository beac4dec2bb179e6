"""What can be wrong with a cart or a quote. Each class is one `ErrorReason` of batzen.pricing.v1."""

from __future__ import annotations

from services.errors import InvalidRequest, NotFound, ServiceError


class TooManyLines(InvalidRequest):
    """A cart may have 1,000 lines at most; split it."""

    reason = "TOO_MANY_LINES"


class LineIdDuplicate(InvalidRequest):
    """Two lines share a line_id; give each its own."""

    reason = "LINE_ID_DUPLICATE"


class DecimalInvalid(InvalidRequest):
    """Not a plain decimal such as 1 or 2.5."""

    reason = "DECIMAL_INVALID"


class DecimalPrecision(InvalidRequest):
    """The decimal has more digits than this field allows."""

    reason = "DECIMAL_PRECISION"


class QuantityOutOfRange(InvalidRequest):
    """The quantity is not above 0 and at most 10,000."""

    reason = "QUANTITY_OUT_OF_RANGE"


class CurrencyUnknown(InvalidRequest):
    """The currency code is not known here; ISO 4217, upper case."""

    reason = "CURRENCY_UNKNOWN"


class CurrencyMismatch(InvalidRequest):
    """All amounts of a cart must be in one currency."""

    reason = "CURRENCY_MISMATCH"


class AmountNegative(InvalidRequest):
    """An amount is below zero."""

    reason = "AMOUNT_NEGATIVE"


class AmountOverflow(InvalidRequest):
    """An amount is, or would come to be, beyond int64."""

    reason = "AMOUNT_OVERFLOW"


class DateInvalid(InvalidRequest):
    """Not a date of the calendar from 1970 to 9998, YYYY-MM-DD."""

    reason = "DATE_INVALID"


class TimeZoneUnknown(InvalidRequest):
    """The IANA database has no such time zone."""

    reason = "TIME_ZONE_UNKNOWN"


class TaxRateUnknown(InvalidRequest):
    """The price book has no tax rate for this country, category and date."""

    reason = "TAX_RATE_UNKNOWN"


class FeatureNotAvailable(ServiceError):
    """This server does not offer what the field asks for."""

    status = "UNIMPLEMENTED"
    reason = "FEATURE_NOT_AVAILABLE"


class QuoteNotFound(NotFound):
    """There is no such quote."""

    reason = "QUOTE_NOT_FOUND"
