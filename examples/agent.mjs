// Strategy Analysis in JavaScript, without packages: approves what may win twice what it risks.
// node agent.mjs SOCKET [INSTANCE]; the service says [agents.strategy_analysis] where = "remote".
import net from "node:net";

const [path, instance = "1"] = process.argv.slice(2);
const source = `agent/strategy_analysis/${instance}`;
const link = net.connect(path).setEncoding("utf8");
let sent = 0, rest = "";

const send = (type, data) =>
  link.write(JSON.stringify({ type, id: `${process.pid}.${++sent}`, source, data }) + "\n");

const hear = {
  "service.live": () => send("agent.ready", {}),
  "service.ping": ({ number }) => send("agent.pong", { number }),
  "service.drain": () => { send("agent.goodbye", {}); link.end(); },
  "service.refused": ({ reason }) => { console.error(reason); process.exitCode = 2; },
  "service.ask": ({ ask_id, question: { signal, account } }) => {
    const ratio = Number(signal.target_distance ?? 0) / Number(signal.stop_distance);
    send("agent.answered", { ask_id, answer: {
      type: "score", signal_id: signal.signal_id, account_id: account.account_id,
      approved: ratio >= 2, score: "0.5", expected_r: "0.1", win_rate: signal.confidence,
      samples: 0, reasons: [`may win ${ratio} times what it risks`] } });
  },
};

link.on("connect", () => send("agent.hello", { protocol: 1, role: "strategy_analysis",
  instance: Number(instance), name: "ratio_js", version: "1", hears: [], says: ["score"] }));
link.on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const line of lines) { const { type, data } = JSON.parse(line); hear[type]?.(data); }
});
