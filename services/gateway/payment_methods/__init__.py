"""The methods that payers keep, by whose consent, and which is the default. Knows no payment but which needs one."""
