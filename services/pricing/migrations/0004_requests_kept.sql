-- expand
-- Requests are kept for 90 days; this finds the older ones.
CREATE INDEX requests_create_time ON requests (create_time);
