// The hard peer: socket.io on Node, websockets only, a room per payment. `node server.js PORT`
// It is told what to do as bench/servers/control.py says, and publishes as steadily.
"use strict";
const http = require("node:http");
const readline = require("node:readline");
const { Server } = require("socket.io");

const NEVER_MS = 3_600_000;
const TICK_MS = 1;
const STEP = 7919;
const LOOK_EVERY = 64;
const FILLER = "x".repeat(140);

const revisions = new Map();
const stamp = () => "at=" + process.hrtime.bigint().toString().padStart(19, "0");
const seconds = () => Number(process.hrtime.bigint()) / 1e9;
const paymentId = (number) => "pay_" + String(number).padStart(26, "0");
const message = (name) => ({ payment_id: name, revision: revisions.get(name) ?? 0, state: 2, at: stamp(), body: FILLER });

const server = http.createServer();
const io = new Server(server, {
  transports: ["websocket"],
  pingInterval: NEVER_MS,
  pingTimeout: NEVER_MS,
  serveClient: false,
});
io.on("connection", (socket) => {
  socket.on("watch", ({ payment_id: name }) => {
    socket.join(name);
    socket.emit("status", message(name));
  });
});

function publish(number) {
  const name = paymentId(number);
  revisions.set(name, (revisions.get(name) ?? 0) + 1);
  io.to(name).emit("status", message(name));
}

async function publishSteadily(perS, duration, payments) {
  const began = seconds();
  let count = 0, number = 0, lag = 0, passed = 0;
  while ((passed = seconds() - began) < duration) {
    const due = Math.floor(passed * perS);
    if (due > count) lag = Math.max(lag, passed - count / perS);
    while (count < due) {
      publish(number % payments);
      number += STEP;
      count += 1;
      if (count % LOOK_EVERY === 0 && seconds() - began >= duration) break;
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  return `${count} ${(lag * 1e3).toFixed(1)} ${(seconds() - began).toFixed(4)}`;
}

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, async () => {
  console.log("READY");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [what, perS, duration, payments] = line.split(" ");
    if (what === "quit") break;
    console.log("DONE " + (await publishSteadily(Number(perS), Number(duration), Number(payments))));
  }
  process.exit(0);
});
