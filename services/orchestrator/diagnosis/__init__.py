"""Whether all records of a payment agree: of one that is asked for, and of recent ones by schedule. Changes nothing."""
