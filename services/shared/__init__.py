"""Pure value objects and checks that several services need, each in one place."""
