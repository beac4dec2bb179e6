"""What operators did by the gateway, as its tables have it: each is kept where it was done."""
