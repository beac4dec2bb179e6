"""Pure value objects and checks that several services need, said once."""
