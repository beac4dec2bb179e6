/** Watches two payments at a server whose streams break, and says as a line of JSON what came of it. */

import { credentials, status as Code } from "@grpc/grpc-js";
import { Refused, watch } from "batzen-stubs";
import { StatusServiceClient } from "batzen-stubs/batzen/status/v1/status";

const status = new StatusServiceClient(process.env["BATZEN_STATUS_ADDRESS"] ?? "", credentials.createInsecure());

const heard: string[] = [];
for await (const { revision } of watch(status, "pay_moving", { untilSettled: true })) heard.push(`${revision}`);

let ended = "";
try {
  for await (const _ of watch(status, "pay_broken", { untilSettled: true }));
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  ended = Code[error.code];
}
console.log(JSON.stringify({ heard, ended }));
status.close();
