"use strict";
// The front page: reads the API with the token of this tab, shows it, and can stop everything.

const EVERY_MS = 3000, EVENTS_SHOWN = 40, ANSWER_MS = 5000, KEY = "api-token";
const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem(KEY), socket = null, socketWait = 1000, accountIds = [];
let timer = 0, life = 0;

// -- building: text only ever enters the page as text ----------------------------------------------

function make(tag, text, kind) {
  const found = document.createElement(tag);
  if (text !== undefined && text !== null) found.textContent = text;
  if (kind) found.className = kind;
  return found;
}

function table(into, heads, rows, empty) {
  into.replaceChildren();
  if (!rows.length) { into.append(make("p", empty, "faint")); return; }
  const found = make("table"), head = make("tr"), body = make("tbody");
  for (const one of heads) head.append(make("th", one.replace(/^>/, ""), one[0] === ">" ? "num" : ""));
  for (const row of rows) {
    const line = make("tr");
    row.forEach((cell, i) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
      line.append(make("td", text, `${kind} ${heads[i][0] === ">" ? "num" : ""}`));
    });
    body.append(line);
  }
  const top = make("thead");
  top.append(head); found.append(top, body); into.append(found);
}

const UNKNOWN = ["not known", "faint"];
// Decimals stay text: a number in the browser would round them.
function money(text, currency) {
  if (text === null || text === undefined) return UNKNOWN;
  const [whole, part = ""] = text.replace("-", "").split(".");
  const shown = whole.replace(/\B(?=(\d{3})+$)/g, ",") + "." + (part + "00").slice(0, 2);
  return `${text[0] === "-" ? "−" : ""}${shown}${currency ? " " + currency : ""}`;
}
function result(text, currency) {
  if (text === null || text === undefined) return UNKNOWN;
  const sign = Math.sign(Number(text));
  return [(sign > 0 ? "+" : "") + money(text, currency), sign > 0 ? "good" : sign < 0 ? "bad" : ""];
}
const percent = (text) => text === null ? UNKNOWN : (Number(text) * 100).toFixed(2) + " %";
const clock = (text) => text ? text.slice(0, 10) + " " + text.slice(11, 19) : "";
const WELL = { ok: "good", running: "good", healthy: "good", open: "good", ready: "", degraded: "warn",
  reduce: "warn", draining: "warn", starting: "warn", reconciling: "warn" };
const look = (word) => word in WELL ? WELL[word] : "bad";

// -- asking ----------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path, { ...options, headers: { ...headers, ...options.headers },
    cache: "no-store", signal: AbortSignal.timeout(options.ms || ANSWER_MS) });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const problem = new Error([found.detail || answer.statusText, ...(found.errors || [])].join(" "));
    problem.status = answer.status;
    throw problem;
  }
  return found;
}

async function refresh() {
  const mine = ++life;
  clearTimeout(timer);
  try {
    const health = await ask("/health");
    if (mine !== life) return;
    header(health);
    if (token && health.components) await inside(health);
    else if (token && health.environment !== "unknown") signOut("This token is not the service's.");
    tell("");
  } catch (problem) {
    if (mine !== life) return;
    if (problem.status === 401) signOut("This token is not the service's.");
    else tell(problem.status ? problem.message
      : "The service does not answer: what is shown below may be old. " +
        "Stop without it: orchestrator emergency-stop --local");
  }
  if (mine === life) timer = setTimeout(refresh, EVERY_MS);
}

async function inside(health) {
  const [accounts, trades, agents, breakers] = await Promise.all([ask("/accounts?limit=1000"),
    ask("/trades?state=open&limit=200"), ask("/agents?limit=1000"),
    ask("/breakers?tripped=true&limit=200")]);
  $("signin").hidden = true; $("inside").hidden = $("leave").hidden = false;
  accountIds = accounts.items.map((a) => a.account_id);
  showAccounts(accounts.items); showTrades(trades.items, accounts.items);
  showParts(health); showAgents(agents.items); showBreakers(breakers.items);
  await showStop(health.stop_id);
  if (!socket) listen();
}

function signOut(why) {
  token = null;
  sessionStorage.removeItem(KEY);
  if (socket) { socket.onclose = null; socket.close(); socket = null; }
  $("signin").hidden = false; $("inside").hidden = $("leave").hidden = $("stopped").hidden = true;
  $("refused").textContent = why; $("refused").hidden = !why;
}

function tell(text) { $("trouble").textContent = text; $("trouble").hidden = !text; }

// -- showing ---------------------------------------------------------------------------------------

function header(health) {
  const words = [...new Set([health.status, health.mode])];
  const chips = [...words.map((word) => make("span", word, "chip " + look(word))),
    make("span", health.environment === "live" ? "LIVE MONEY" : health.environment,
      "chip " + (health.environment === "live" ? "live" : ""))];
  if (health.market_time_at) {
    const speed = health.market_speed === 1 ? "" : ` × ${health.market_speed || "max"}`;
    chips.push(make("span", `market time ${clock(health.market_time_at)} UTC${speed}`, "chip"));
  }
  $("chips").replaceChildren(...chips.flatMap((c) => [c, " "]));
}

function showAccounts(items) {
  table($("accounts"), ["Account", "Mode", ">NAV", ">Balance", ">Today", ">Open result", ">Drawdown",
    ">Open", "Blocked by"], items.map((a) => [[a.account_id, "nowrap"], [a.enabled ? a.mode : a.mode + ", disabled",
      a.enabled ? look(a.mode) : "warn"], money(a.nav, a.currency), money(a.balance, a.currency),
    result(a.day_pl, a.currency), result(a.unrealized_pl, a.currency), percent(a.drawdown_fraction),
    String(a.open_trades), [a.blocked_by.join(", ") || "—", a.blocked_by.length ? "warn" : "faint"]]),
  "No account is known yet.");
}

function showTrades(items, accounts) {
  const currency = Object.fromEntries(accounts.map((a) => [a.account_id, a.currency]));
  table($("trades"), ["Account", "Trade", "Instrument", ">Units", ">Price", ">Stop", ">Target",
    ">Open result", "Opened (UTC)", "Strategy", "Signal"], items.map((t) => [[t.account_id, "nowrap"], t.trade_id,
      t.instrument, t.units, t.price, t.stop_price === null ? ["none", "bad"] : t.stop_price,
      t.target_price || "—", result(t.unrealized_pl, currency[t.account_id]), [clock(t.opened_at), "nowrap"],
      t.ours ? t.strategy : ["not ours", "warn"], [t.signal_id, "mono"]]), "No trade is open.");
}

function showParts(health) {
  const rows = health.components.map((c) => [c.name, [c.ok ? "ok" : "not ok", c.ok ? "good" : "bad nowrap"], c.text]);
  rows.push(["process", ["ok", "good"], `version ${health.version}, up ${Math.round(health.uptime_s)} s, ` +
    `${Math.round(health.rss_mb)} MB, loop lag ${health.loop_lag_ms} ms, market ${health.market_hours}`]);
  table($("parts"), ["Part", "State", ""], rows, "");
}

function showAgents(items) {
  table($("agents"), ["Agent", "State", ">Handled", ">Errors", ">p50", ">p99"], items.map((a) => [
    a.agent_id, [a.state, look(a.state)], String(a.handled), [String(a.errors), a.errors ? "warn" : ""],
    a.p50_us.toFixed(0) + " µs", a.p99_us.toFixed(0) + " µs"]), "No agent is registered.");
}

function showBreakers(items) {
  table($("breakers"), ["Breaker", "Subject", "State", "Effect", "Since (UTC)", "Until (UTC)", "Evidence"],
    items.map((b) => [`${b.breaker} ${b.name}`, b.subject, [b.state, "warn"], b.effect, clock(b.since_at),
      b.until_at ? clock(b.until_at) : b.reset, b.evidence]), "None.");
}

async function showStop(stopId) {
  const box = $("stopped");
  if (!stopId) { box.hidden = true; return; }
  let receipt;
  try { receipt = await ask("/emergency-stop"); } catch (problem) {
    if (problem.status === 404) { box.hidden = true; return; }
    throw problem;
  }
  box.replaceChildren(make("h2", "Emergency stop in force: " + receipt.state.replaceAll("_", " ")),
    make("p", `${receipt.stop_id} by ${receipt.actor} at ${clock(receipt.gate_closed_at)} UTC: ${receipt.reason}`));
  for (const a of receipt.accounts) {
    const open = a.still_open.length ? `still open: ${a.still_open.join(", ")}`
      : a.verified_at ? "nothing open" : "not yet verified with the venue";
    box.append(make("p", `${a.account_id}: closed ${a.trades_closed.length}, cancelled ` +
      `${a.orders_cancelled.length}, ${open}${a.problem ? "; " + a.problem : ""}`, a.problem ? "bad" : ""));
  }
  if (!receipt.persisted) box.append(make("p", "Not yet written to disk; it is being retried.", "bad"));
  box.append(make("p", `Reopen: orchestrator resume ${receipt.stop_id} --reason WHY`, "mono"));
  box.hidden = false;
}

// -- live events -----------------------------------------------------------------------------------

function listen() {
  const secure = location.protocol === "https:" ? "wss://" : "ws://";
  const mine = socket = new WebSocket(`${secure}${location.host}/ws`);
  mine.onopen = () => { mine.send(token); };
  mine.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "heartbeat") {
      if (socketWait !== 0) history();
      socketWait = 0; live("live", "good");
    } else addEvent(event);
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    live("not connected, trying again", "warn");
    socketWait = Math.min(30000, Math.max(1000, socketWait * 2));
    setTimeout(() => { if (socket === mine) { socket = null; if (token) listen(); } }, socketWait);
  };
}

function live(text, kind) { $("live").textContent = text; $("live").className = "chip " + kind; }

async function history() {
  try {
    const found = await ask(`/events?limit=${EVENTS_SHOWN}`);
    $("events").replaceChildren();
    for (const event of found.items.reverse()) addEvent(event);
  } catch { live("history cannot be read", "warn"); }
}

function addEvent(event) {
  const line = make("tr"), data = typeof event.data === "object" ? event.data || {} : {};
  line.append(make("td", clock(event.ts), "nowrap"), make("td", event.type, "mono nowrap"),
    make("td", event.subject, "mono"), make("td", event.actor), make("td", story(data)));
  $("events").prepend(line);
  while ($("events").rows.length > EVENTS_SHOWN) $("events").deleteRow(-1);
}

function story(data) {
  const said = [data.outcome || data.state || data.stage, data.instrument, data.reason || data.text ||
    data.evidence || (data.alert && data.alert.title) || (data.transaction && data.transaction.type)];
  return said.filter((part) => typeof part === "string" && part).join(" · ").slice(0, 200);
}

// -- the emergency stop ----------------------------------------------------------------------------

function openStop() {
  const which = $("which");
  which.replaceChildren();
  const choice = (name, value, text, on) => {
    const label = make("label", "", "line"), box = make("input");
    box.type = name === "all" ? "radio" : "checkbox"; box.name = name; box.value = value; box.checked = on;
    label.append(box, " " + text); which.append(label);
    return box;
  };
  const all = choice("all", "", "All accounts", true);
  const boxes = accountIds.map((id) => choice("one", id, id, false));
  const scope = () => {
    const chosen = boxes.filter((b) => b.checked);
    all.checked = !chosen.length;
    $("scope").textContent = (chosen.length
      ? `No new order for ${chosen.map((b) => b.value).join(", ")}.`
      : "No new order will leave, for any account.") +
      ($("liquidate").checked ? " Positions are closed at the market." :
        " Positions stay open, with their stops at the venue.");
  };
  all.onchange = () => { for (const b of boxes) b.checked = false; scope(); };
  for (const b of boxes) b.onchange = scope;
  $("liquidate").onchange = scope;
  scope();
  $("stoptrouble").hidden = true;
  $("really").disabled = false;
  $("confirm").showModal();
  $("really").focus();
}

async function stopNow(event) {
  event.preventDefault();
  const accounts = [...$("which").querySelectorAll("input[name=one]:checked")].map((b) => b.value);
  $("really").disabled = true;
  try {
    await ask("/emergency-stop", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reason: $("why").value, liquidate: $("liquidate").checked, accounts }) });
    $("confirm").close();
    refresh();
  } catch (problem) {
    $("stoptrouble").textContent = `NOT CONFIRMED: ${problem.message} — ` +
      "press again, or on the service's machine: orchestrator emergency-stop --local";
    $("stoptrouble").hidden = $("really").disabled = false;
  }
}

$("stop").onclick = () => {
  if (token) { openStop(); return; }
  $("refused").textContent = "The stop needs your token. On the service's machine it does not: " +
    "orchestrator emergency-stop --local";
  $("refused").hidden = false;
  $("token").focus();
};
$("stopform").onsubmit = stopNow;
$("back").onclick = () => $("confirm").close();
$("leave").onclick = () => signOut("");
$("tokenform").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value.trim(); $("token").value = "";
  sessionStorage.setItem(KEY, token); $("refused").hidden = true;
  refresh();
};
refresh();
