/** How a refused call is read: why, which field, what else is said of it, and when the same call is worth a try. */

import { status as Code, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "./google/rpc/error_details.js";
import { Status } from "./google/rpc/status.js";

const DETAILS = "grpc-status-details-bin";
const CORRELATION = "x-correlation-id";
/** What the same call, with the same request_id, may meet otherwise the next time. */
const PASSING = new Set([Code.ABORTED, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED]);

/** One field of the request that is wrong. */
export interface FieldViolation {
  /** Its path, such as `lines[2].quantity`. */
  field: string;
  /** What it has to be, such as `must be at most 10000`. */
  description: string;
}

/** A call was refused, or its outcome is not known. */
export class Refused extends Error {
  override readonly name = "Refused";
  /** For what is to be done: NOT_FOUND, FAILED_PRECONDITION, … */
  readonly code: Code;
  /** For what exactly was wrong, such as `PAYMENT_STATE`; empty where no service of the suite refused. */
  readonly reason: string = "";
  readonly fields: FieldViolation[] = [];
  /** What the contract names with the reason, such as `state`. */
  readonly metadata: Record<string, string> = {};
  readonly retryAfterMs: number | undefined;
  /** What to name when asking about it. */
  readonly correlationId: string | undefined;

  constructor(error: ServiceError) {
    super(error.details || error.message, { cause: error });
    this.code = error.code;
    this.correlationId = first(error.metadata, CORRELATION)?.toString();
    const encoded = first(error.metadata, DETAILS);
    if (encoded === undefined) return;
    for (const detail of Status.decode(Buffer.from(encoded)).details) {
      if (detail.typeUrl.endsWith("/google.rpc.ErrorInfo")) {
        ({ reason: this.reason, metadata: this.metadata } = ErrorInfo.decode(detail.value));
      } else if (detail.typeUrl.endsWith("/google.rpc.BadRequest")) {
        this.fields = BadRequest.decode(detail.value).fieldViolations;
      } else if (detail.typeUrl.endsWith("/google.rpc.RetryInfo")) {
        const delay = RetryInfo.decode(detail.value).retryDelay;
        this.retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1_000_000;
      }
    }
  }

  /** Whether the same call may meet another answer. */
  get mayPass(): boolean {
    return PASSING.has(this.code);
  }
}

function first(metadata: Metadata | undefined, key: string): string | Buffer | undefined {
  return metadata?.get(key)[0];
}
