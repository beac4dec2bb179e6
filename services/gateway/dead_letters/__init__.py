"""What was given up, for operators: listed with what it is about, and done again."""
