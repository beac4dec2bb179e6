-- expand
-- Requests are kept for 90 days; this finds the older ones. A start never goes: its row is the key of its payment.
DROP INDEX requests_create_time;
CREATE INDEX requests_create_time ON requests (create_time) WHERE method <> 'StartPayment';
