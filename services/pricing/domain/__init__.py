"""The rules of prices. Pure: no clock, no I/O, no protobuf.

errors      what can be wrong with a cart
exact       integers, rates and rounding
cart        what a caller asks to be priced
book        what prices are made from
price       what comes out
stages      base lines → tax → platform fee → breakdown, one function each
pipeline    the list of the stages, and `price_cart`
"""
