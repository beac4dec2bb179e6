"""`batzen stripe check`: whether an account of Stripe's test mode has what this suite needs. It changes nothing."""
