/** What goes beside the stubs. The contracts are at their paths: `batzen-stubs/batzen/status/v1/status`. */

export { DEADLINE_MS, KEEPALIVE, asCaller, call, pause } from "./calls.js";
export { Refused, type FieldViolation } from "./errors.js";
export { watch, type WatchOptions } from "./watch.js";
