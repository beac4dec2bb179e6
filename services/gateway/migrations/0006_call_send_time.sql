-- expand
-- When a call was sent last, as far as Stripe may still be at work on it. The default is for what the release before writes down, which
-- does not know the column; what was open before this ran counts as sent now.
ALTER TABLE calls ADD COLUMN send_time timestamptz DEFAULT now();
