"""What is called at Stripe, one file a resource, over `stripe_api.transport`: paths, parameters, types of answers."""
