"""The rules of a payment's state and the records they speak of. Pure: no clock, no I/O, no protobuf, no SQL."""
