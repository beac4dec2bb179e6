-- expand
CREATE TABLE bookings (
  tenant_id text NOT NULL,
  booking_id text NOT NULL,
  request_id uuid NOT NULL,
  amount_minor bigint NOT NULL,
  note text,
  create_time timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, booking_id),
  CONSTRAINT bookings_request UNIQUE (tenant_id, request_id)
);
