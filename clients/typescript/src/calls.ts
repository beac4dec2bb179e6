/** How a call is made: with a token, with a deadline, and again where that is safe. */

import { InterceptingCall, Metadata, type CallOptions, type ClientUnaryCall, type Interceptor, type ServiceError } from "@grpc/grpc-js";
import { Refused } from "./errors.js";

/** What a call has where it names no other; a server takes at most 60 s. */
export const DEADLINE_MS = 10_000;
/** What finds out that the other end is gone while a stream is quiet. */
export const KEEPALIVE = { "grpc.keepalive_time_ms": 20_000, "grpc.keepalive_timeout_ms": 5_000 };
const TRIES = 4;
const PAUSE_MS = 100;
const PAUSE_MAX_MS = 5_000;

/** Puts the token on each call, asked for anew since it expires, and a deadline on each that has none and answers once. */
export function asCaller(token: () => string): Interceptor {
  return (options, nextCall) => {
    const isStream = options.method_definition.requestStream || options.method_definition.responseStream;
    const deadline = options.deadline ?? (isStream ? undefined : Date.now() + DEADLINE_MS);
    return new InterceptingCall(nextCall(deadline === undefined ? options : { ...options, deadline }), {
      start(metadata, listener, next) {
        metadata.set("authorization", `Bearer ${token()}`);
        next(metadata, listener);
      },
    });
  };
}

type Method<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/**
 * Calls a method, and calls it again while that may help: with the same request, whose `request_id` makes it the same to the
 * suite. Rejects with `Refused`. `correlationId` is what the suite's logs know the call by.
 */
export async function call<Request, Response>(
  method: Method<Request, Response>,
  request: Request,
  { correlationId, tries = TRIES }: { correlationId?: string; tries?: number } = {},
): Promise<Response> {
  for (let failures = 1; ; failures++) {
    try {
      return await once(method, request, correlationId);
    } catch (error) {
      if (!(error instanceof Refused) || !error.mayPass || failures >= tries) throw error;
      await pause(failures, error.retryAfterMs);
    }
  }
}

function once<Request, Response>(
  method: Method<Request, Response>,
  request: Request,
  correlationId: string | undefined,
): Promise<Response> {
  const metadata = new Metadata();
  if (correlationId !== undefined) metadata.set("x-correlation-id", correlationId);
  return new Promise((resolve, reject) => {
    method(request, metadata, {}, (error, response) => (error ? reject(new Refused(error)) : resolve(response)));
  });
}

/** Waits before another try: as long as was said, or longer from failure to failure, and not all callers at once. */
export function pause(failures: number, retryAfterMs?: number): Promise<void> {
  const longest = Math.min(PAUSE_MS * 2 ** failures, PAUSE_MAX_MS);
  return new Promise((resolve) => setTimeout(resolve, retryAfterMs ?? longest * (0.5 + Math.random() / 2)));
}
