"""What payers, sellers and operators are told of facts: who is told what, by which way, and what each has read."""
