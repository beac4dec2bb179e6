"""What plans do by themselves when their time comes, one file a step. `domain/agenda.py` says when."""
