"""The rules of prices. Pure: no clock, no I/O, no protobuf.

- `errors`: what can be wrong with a cart
- `exact`: integers, rates and rounding
- `line`, `cart`: what a caller asks to be priced
- `terms`: discounts, surcharges and coupons
- `book`: what prices are made from
- `price`: what comes out
- `pipeline`: the list of the stages, and `price_cart`; each stage is a module of its own:
  `base_lines` → `adjustments` → `tax` → `fees` → `breakdown`
"""
