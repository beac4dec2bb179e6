"""What operators are shown and do: what needs them, what does not move, and every action of theirs, kept for ever."""
