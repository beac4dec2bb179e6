/** A watch that goes on: each revision of a payment once and in order, whatever is lost in between. */

import { status as Code, type ServiceError } from "@grpc/grpc-js";
import type { Transition } from "./batzen/status/v1/status.js";
import { StatusServiceClient, WatchPaymentRequest, WatchPaymentRequest_CloseWhen } from "./batzen/status/v1/status.js";
import { pause } from "./calls.js";
import { Refused } from "./errors.js";

/** After three heartbeats that did not come the stream is taken for dead. */
const SILENCE_MS = 45_000;
/** So many streams in a row may end with INTERNAL, as one does whose connection broke amid a message; one more is a bug. */
const BREAKS_MAX = 5;

export interface WatchOptions {
  /** The last revision that you have; 0, which is what is taken, tells all from the first on. */
  afterRevision?: bigint;
  /** Ends once nothing more is awaited of payer and Stripe. */
  untilSettled?: boolean;
  /** Ends the watch. */
  signal?: AbortSignal;
}

/** Yields each revision; leave it by `break`. Throws `Refused` where no further try would help. */
export async function* watch(
  status: StatusServiceClient,
  paymentId: string,
  { afterRevision = 0n, untilSettled = false, signal }: WatchOptions = {},
): AsyncGenerator<Transition> {
  const closeWhen = WatchPaymentRequest_CloseWhen[untilSettled ? "SETTLED" : "UNSPECIFIED"];
  let seen = afterRevision;
  for (let failures = 0, breaks = 0; !signal?.aborted; ) {
    const stream = status.watchPayment(WatchPaymentRequest.fromPartial({ paymentId, afterRevision: seen, closeWhen }));
    const cancel = () => stream.cancel();
    signal?.addEventListener("abort", cancel);
    let silence = setTimeout(cancel, SILENCE_MS);
    let isBegun = false;
    try {
      for await (const message of stream) {
        isBegun = true;
        clearTimeout(silence);
        if (message.heartbeat) failures = breaks = 0; // not at the first message, which each stream begins with
        for (const transition of message.updates?.transitions ?? []) {
          if (transition.revision <= seen) continue;
          failures = breaks = 0;
          seen = transition.revision; // before it is handed on: what comes next is what comes after it
          yield transition;
        }
        silence = setTimeout(cancel, SILENCE_MS);
      }
      return; // OK: `untilSettled` is met
    } catch (error) {
      if (!isServiceError(error)) throw error; // of whoever reads
      const refused = new Refused(error);
      const isBroken = error.code === Code.INTERNAL && ++breaks <= BREAKS_MAX;
      const mayPass = refused.mayPass || isBroken || error.code === Code.CANCELLED;
      if (!mayPass && !(isBegun && error.code === Code.UNAUTHENTICATED)) throw refused; // a token that ran out is renewed
      if (!signal?.aborted) await pause(++failures, refused.retryAfterMs);
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener("abort", cancel);
      stream.cancel();
    }
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}
