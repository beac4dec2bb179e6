import { randomUUID } from "node:crypto";
import { credentials } from "@grpc/grpc-js";
import { KEEPALIVE, Refused, asCaller, call, watch } from "batzen-stubs";
import { Collection, OrchestratorServiceClient, StartPaymentRequest, SubmitPaymentRequest } from "batzen-stubs/batzen/orchestrator/v1/orchestrator";
import { LineKind } from "batzen-stubs/batzen/pricing/v1/price_book";
import { StatusServiceClient } from "batzen-stubs/batzen/status/v1/status";
import { PaymentState } from "batzen-stubs/batzen/type/v1/payment";

const { BATZEN_TOKEN = "", BATZEN_ORCHESTRATOR_ADDRESS = "127.0.0.1:7001", BATZEN_STATUS_ADDRESS = "127.0.0.1:7003" } = process.env;
const options = { interceptors: [asCaller(() => BATZEN_TOKEN)], ...KEEPALIVE };
const orchestrator = new OrchestratorServiceClient(BATZEN_ORCHESTRATOR_ADDRESS, credentials.createInsecure(), options);
const status = new StatusServiceClient(BATZEN_STATUS_ADDRESS, credentials.createInsecure(), options);

function aStart(quantity: string): StartPaymentRequest {
  return StartPaymentRequest.fromPartial({
    requestId: randomUUID(), // keep it with what it is for: the same id again is the same payment
    payer: { payerId: "payer_1" },
    lines: [
      {
        lineId: "1",
        sellerId: "seller_1",
        kind: LineKind.SESSION,
        quantity,
        unitAmount: { amountMinor: 12_000n, currencyCode: "CHF" },
      },
    ],
    returnUrl: "https://shop.example/back",
    collection: Collection.ELEMENTS,
  });
}

try {
  await call(orchestrator.startPayment.bind(orchestrator), aStart("10001"));
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.log(error.reason, error.fields[0]?.field, error.fields[0]?.description, error.metadata);
}

const started = await call(orchestrator.startPayment.bind(orchestrator), aStart("1"), { correlationId: "order-7" });
const paymentId = started.session?.payment?.paymentId ?? "";
// In a shop the payer's browser has the method, from a form of Stripe's that `session.clientSecret` opens.
const submit = SubmitPaymentRequest.fromPartial({ requestId: randomUUID(), paymentId, paymentMethodId: "pm_card_visa" });
await call(orchestrator.submitPayment.bind(orchestrator), submit);

for await (const transition of watch(status, paymentId, { untilSettled: true })) {
  console.log(transition.revision, PaymentState[transition.state]);
}
orchestrator.close();
status.close();
