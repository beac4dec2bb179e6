"""What happened that somebody is told: kept once each, as status, the gateway and the clock say it."""
