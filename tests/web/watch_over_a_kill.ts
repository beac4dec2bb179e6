/** Starts a payment, watches it, submits it when it is told to on standard input, and says each thing as a line of JSON. */

import { once } from "node:events";
import { randomUUID } from "node:crypto";
import { credentials, status as Code } from "@grpc/grpc-js";
import { KEEPALIVE, Refused, asCaller, call, watch } from "batzen-stubs";
import {
  CancelPaymentRequest,
  Collection,
  OrchestratorServiceClient,
  StartPaymentRequest,
  SubmitPaymentRequest,
} from "batzen-stubs/batzen/orchestrator/v1/orchestrator";
import { LineKind } from "batzen-stubs/batzen/pricing/v1/price_book";
import { StatusServiceClient } from "batzen-stubs/batzen/status/v1/status";
import { PaymentState } from "batzen-stubs/batzen/type/v1/payment";

const token = process.env["BATZEN_TOKEN"] ?? "";
const options = { interceptors: [asCaller(() => token)], ...KEEPALIVE };
const client = <T>(kind: new (address: string, secure: ReturnType<typeof credentials.createInsecure>, given: object) => T, name: string) =>
  new kind(process.env[`BATZEN_${name}_ADDRESS`] ?? "", credentials.createInsecure(), options);
const orchestrator = client(OrchestratorServiceClient, "ORCHESTRATOR");
const status = client(StatusServiceClient, "STATUS");
const say = (line: object) =>
  console.log(JSON.stringify(line, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value)));

async function refused(doing: Promise<unknown>): Promise<Refused> {
  try {
    await doing;
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

const startRequest = StartPaymentRequest.fromPartial({
  requestId: randomUUID(),
  payer: { payerId: "payer_1" },
  lines: [
    {
      lineId: "1",
      sellerId: process.env["SELLER"],
      kind: LineKind.SESSION,
      quantity: "1",
      unitAmount: { amountMinor: 12_000n, currencyCode: "CHF" },
    },
  ],
  returnUrl: "https://shop.example/back",
  collection: Collection.ELEMENTS,
});
const started = await call(orchestrator.startPayment.bind(orchestrator), startRequest, { correlationId: "of-node-1" });
const again = await call(orchestrator.startPayment.bind(orchestrator), startRequest);
const paymentId = started.session?.payment?.paymentId ?? "";
say({ paymentId, again: again.session?.payment?.paymentId, total: started.session?.quote?.total?.amountMinor });

const heard: string[] = [];
for await (const { revision, state } of watch(status, paymentId, { untilSettled: true })) {
  heard.push(`${revision} ${PaymentState[state]}`);
  say({ heard: heard.at(-1) });
  if (state === PaymentState.REQUIRES_PAYMENT_METHOD) {
    // What goes on here goes on beside the watch, whose server is gone meanwhile.
    void once(process.stdin, "data").then(() =>
      call(
        orchestrator.submitPayment.bind(orchestrator),
        SubmitPaymentRequest.fromPartial({ requestId: randomUUID(), paymentId, paymentMethodId: "pm_card_visa" }),
        { tries: 20 },
      ),
    );
  }
}

const late = CancelPaymentRequest.fromPartial({ requestId: randomUUID(), paymentId });
const ofState = await refused(call(orchestrator.cancelPayment.bind(orchestrator), late));
const nothing = StartPaymentRequest.fromPartial({ ...startRequest, requestId: randomUUID(), lines: [] });
const ofField = await refused(call(orchestrator.startPayment.bind(orchestrator), nothing, { correlationId: "of-node-2" }));
const stopped: string[] = [];
for await (const { revision } of watch(status, paymentId, { afterRevision: 2n })) {
  stopped.push(`${revision}`);
  if (stopped.length === 2) break; // of an endless watch
}
const unknown = await refused(watch(status, "pay_" + "0".repeat(26)).next());
say({
  heard,
  stopped,
  ofState: { code: Code[ofState.code], reason: ofState.reason, metadata: ofState.metadata, message: ofState.message },
  ofField: { code: Code[ofField.code], reason: ofField.reason, fields: ofField.fields, correlationId: ofField.correlationId },
  unknown: { code: Code[unknown.code], reason: unknown.reason },
});
orchestrator.close();
status.close();
process.stdin.destroy();
