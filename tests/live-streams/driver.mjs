// Drives the control plane with the Socket.IO client that its users have. Commands come as lines of JSON on standard
// input; what happens goes out as lines of JSON on standard output, `{id, event, data}`.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url] = process.argv.slice(2);
const sockets = new Map();

const tell = (id, event, data) => process.stdout.write(`${JSON.stringify({ id, event, data })}\n`);

const open = (token, transports) =>
  io(url, { auth: token === undefined ? undefined : { token }, transports, forceNew: true, reconnection: false });

// Milliseconds from the writing of a line, if it says when that was, to here.
const age = (line) => {
  const written = /^tick (\d+)$/.exec(line);
  return written ? Date.now() - Number(written[1]) : undefined;
};

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

const summary = (ages) => {
  const sorted = [...ages].sort((a, b) => a - b);
  return { count: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1) };
};

const commands = {
  connect({ id, token, transports, quiet }) {
    const socket = open(token, transports);
    sockets.set(id, { socket, lines: 0, ages: [] });
    socket.on("connect", () => tell(id, "connect", { transport: socket.io.engine.transport.name }));
    socket.on("connect_error", (error) => tell(id, "connect_error", { message: error.message }));
    socket.on("disconnect", (reason) => tell(id, "disconnect", { reason }));
    socket.onAny((event, data) => {
      const known = sockets.get(id);
      if (event === "log_update") {
        known.lines += 1;
        const late = age(data.message);
        if (late !== undefined) known.ages.push(late);
      }
      if (!(quiet && event === "log_update")) tell(id, event, data);
    });
  },
  emit({ id, event, data }) {
    sockets.get(id).socket.emit(event, data);
  },
  // From now on nothing is read from the connection, as by a client that hangs.
  pause({ id }) {
    sockets.get(id).socket.io.engine.transport.ws._socket.pause();
    tell(id, "paused", {});
  },
  resume({ id }) {
    sockets.get(id).socket.io.engine.transport.ws._socket.resume();
  },
  // What came since the last time.
  count({ id }) {
    const known = sockets.get(id);
    tell(id, "counted", { lines: known.lines, ages: summary(known.ages) });
    known.lines = 0;
    known.ages = [];
  },
  close({ id }) {
    sockets.get(id).socket.close();
  },
  // Many clients that listen to the same log until it says `end`.
  crowd({ id, token, transports, count, deploymentId }) {
    const heard = [];
    const ages = [];
    let [confirmed, ended] = [0, 0];
    for (let index = 0; index < count; index += 1) {
      const socket = open(token, transports);
      heard[index] = [];
      const fail = (what) => (problem) => tell(id, "failed", { index, what, problem: problem.message ?? problem });
      socket.on("connect", () => socket.emit("subscribe_logs", { deploymentId }));
      socket.on("connect_error", fail("connect"));
      socket.on("subscription_error", fail("subscribe"));
      socket.on("error", fail("error"));
      socket.on("subscription_confirmed", () => {
        confirmed += 1;
        if (confirmed === count) tell(id, "ready", {});
      });
      socket.on("log_update", ({ message }) => {
        if (message !== "end") {
          heard[index].push(message);
          const late = age(message);
          if (late !== undefined) ages.push(late);
          return;
        }
        socket.close();
        ended += 1;
        if (ended === count) {
          const first = JSON.stringify(heard[0]);
          const different = heard.filter((lines) => JSON.stringify(lines) !== first).length;
          tell(id, "ended", { lines: heard[0], different, ages: summary(ages) });
        }
      });
    }
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { op, ...rest } = JSON.parse(line);
    commands[op](rest);
  })
  .on("close", () => process.exit(0));
