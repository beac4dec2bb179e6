"""What sellers owe the platform of payments, as their balances at Stripe do not cover it: listed, written off."""
