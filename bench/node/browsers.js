// Streams to browsers by Node, with nothing around them. `node browsers.js PORT`; a line on its input says the rate.
"use strict";
const http = require("node:http");
const readline = require("node:readline");

const TICK_MS = 5;
const FILLER = "x".repeat(300);
const clients = [];
let rate = 0;
let due = 0;
let number = 0;
const now = () => Number(process.hrtime.bigint()) / 1e9;

http
  .createServer((request, response) => {
    if (!request.url.endsWith("/events")) {
      const isKnown = "if-none-match" in request.headers;
      response.writeHead(isKnown ? 304 : 200, { etag: '"1"', "cache-control": "private, no-cache" });
      return void response.end(isKnown ? undefined : FILLER);
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("retry: 1000\n\n");
    clients.push(response);
  })
  .listen(Number(process.argv[2]), "127.0.0.1", 2048, () => console.log("ready"));

setInterval(() => {
  number += 1;
  if (!rate || !clients.length) return void (due = now());
  const count = Math.trunc((now() - due) * rate);
  due += count / rate;
  for (let n = 0; n < count; n += 1) {
    const at = process.hrtime.bigint().toString().padStart(19, "0");
    const client = clients[(number * 7919 + n) % clients.length];
    client.write(`event: payment_status_update\ndata: {"reason":"at=${at}","body":"${FILLER}"}\nid: 2\n\n`);
  }
}, TICK_MS);

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    rate = Number(line);
  })
  .on("close", () => process.exit(0));
