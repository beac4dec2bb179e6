"""What can be wrong with a cart or a quote. Each class is one `ErrorReason` of batzen.pricing.v1."""

from __future__ import annotations

from services.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidRequest, NotFound


class TooManyLines(InvalidRequest):
    """A cart may have 1,000 lines at most; split it."""

    reason = "TOO_MANY_LINES"
    limit = "must be at most {lines_max}; split the cart"
    is_of_field = True


class LineIdDuplicate(InvalidRequest):
    """Two lines share a line_id; give each its own."""

    reason = "LINE_ID_DUPLICATE"


class DecimalInvalid(InvalidRequest):
    """Not a plain decimal such as 1 or 2.5."""

    reason = "DECIMAL_INVALID"
    limit = "must be a plain decimal, such as 1 or 2.5"
    is_of_field = True


class DecimalPrecision(InvalidRequest):
    """The decimal has more digits than this field allows."""

    reason = "DECIMAL_PRECISION"
    limit = "must have at most {fraction_digits_max} digits behind the point"
    is_of_field = True


class QuantityOutOfRange(InvalidRequest):
    """The quantity is not above 0 and at most 10,000."""

    reason = "QUANTITY_OUT_OF_RANGE"
    is_of_field = True


class PercentOutOfRange(InvalidRequest):
    """The percentage is outside of what this field allows."""

    reason = "PERCENT_OUT_OF_RANGE"
    is_of_field = True


class CurrencyUnknown(InvalidRequest):
    """The currency code is not known here; ISO 4217, upper case."""

    reason = "CURRENCY_UNKNOWN"


class CurrencyMismatch(InvalidRequest):
    """All amounts of a cart must be in one currency."""

    reason = "CURRENCY_MISMATCH"


class AmountNegative(InvalidRequest):
    """An amount is below zero."""

    reason = "AMOUNT_NEGATIVE"
    limit = "must be at least 0"
    is_of_field = True


class AmountOverflow(InvalidRequest):
    """An amount is, or would come to be, beyond 2^53 − 1."""

    reason = "AMOUNT_OVERFLOW"


class DateInvalid(InvalidRequest):
    """Not a date of the calendar from 1970 to 9998, YYYY-MM-DD."""

    reason = "DATE_INVALID"


class TimeZoneUnknown(InvalidRequest):
    """The IANA database has no such time zone."""

    reason = "TIME_ZONE_UNKNOWN"


class LocaleUnknown(InvalidRequest):
    """The locale is not well formed, such as de-CH is, or nothing is known of its language."""

    reason = "LOCALE_UNKNOWN"


class TaxRateUnknown(InvalidRequest):
    """The price book has no tax rate for this country, category and date."""

    reason = "TAX_RATE_UNKNOWN"


class FeePlanUnknown(FailedPrecondition):
    """The price book has no fee plan that holds for this seller and currency."""

    reason = "FEE_PLAN_UNKNOWN"


class QuoteTooLarge(InvalidRequest):
    """The quote would be too large to be received; ask for fewer locales, adjustments or lines."""

    reason = "QUOTE_TOO_LARGE"


class CouponUnknown(FailedPrecondition):
    """There is no coupon with this code."""

    reason = "COUPON_UNKNOWN"


class CouponNotValidNow(FailedPrecondition):
    """The coupon does not hold yet, holds no more, or was withdrawn."""

    reason = "COUPON_NOT_VALID_NOW"


class CouponCurrencyMismatch(FailedPrecondition):
    """The coupon is for another currency than the cart's."""

    reason = "COUPON_CURRENCY_MISMATCH"


class CouponMinimumNotReached(FailedPrecondition):
    """What the coupon is for does not reach its minimum spend."""

    reason = "COUPON_MINIMUM_NOT_REACHED"
    limit = "It has to be at least {minimum_spend_minor} minor units."


class CouponNotApplicable(FailedPrecondition):
    """The coupon is for none of the lines of the cart."""

    reason = "COUPON_NOT_APPLICABLE"


class CouponNotCombinable(FailedPrecondition):
    """The coupon stands alone; leave out the others, or this one."""

    reason = "COUPON_NOT_COMBINABLE"


class CouponExhausted(FailedPrecondition):
    """All uses of the coupon are held or spent."""

    reason = "COUPON_EXHAUSTED"


class CouponPayerLimit(FailedPrecondition):
    """All uses that this payer has of the coupon are held or spent."""

    reason = "COUPON_PAYER_LIMIT"


class TiersInvalid(InvalidRequest):
    """The tiers must start at zero and rise."""

    reason = "TIERS_INVALID"


class WindowInvalid(InvalidRequest):
    """It must hold until later than it holds from."""

    reason = "WINDOW_INVALID"


class PageTokenInvalid(InvalidRequest):
    """The page token was not made by this call with the same filters."""

    reason = "PAGE_TOKEN_INVALID"


class CouponCodeTaken(AlreadyExists):
    """Another discount has this code."""

    reason = "COUPON_CODE_TAKEN"


class RevisionMismatch(Aborted):
    """The entry is at another revision than expected; read it, then decide."""

    reason = "REVISION_MISMATCH"


class QuoteNotFound(NotFound):
    """There is no such quote."""

    reason = "QUOTE_NOT_FOUND"


class QuoteRedeemed(FailedPrecondition):
    """The quote was redeemed; what it used is spent."""

    reason = "QUOTE_REDEEMED"
