"use strict";
// The documentation: the service's own OpenAPI document, readable, with a form for each route.

const KEY = "api-token";
const $ = (id) => document.getElementById(id);

function make(tag, text, kind) {
  const found = document.createElement(tag);
  if (text !== undefined && text !== null) found.textContent = text;
  if (kind) found.className = kind;
  return found;
}

// The little Markdown that descriptions use: `code` and **strong**; everything else is text.
function words(text, into) {
  for (const part of text.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
    if (part.startsWith("`")) into.append(make("code", part.slice(1, -1)));
    else if (part.startsWith("**")) into.append(make("strong", part.slice(2, -2)));
    else into.append(part);
  }
  return into;
}

function paragraphs(text) {
  return (text || "").split(/\n\s*\n/).map((one) => words(one.replace(/\s*\n\s*/g, " "), make("p", "", "text")));
}

const nameOf = (ref) => ref.slice(ref.lastIndexOf("/") + 1);

// A schema in a few words, names of other schemas as links.
function kind(schema, into) {
  if (!schema) return into;
  if (schema.$ref) {
    const link = make("a", nameOf(schema.$ref));
    link.href = "#schema-" + nameOf(schema.$ref);
    into.append(link);
  } else if (schema.anyOf) {
    schema.anyOf.forEach((one, i) => { if (i) into.append(" or "); kind(one, into); });
  } else if (schema.type === "array") {
    into.append("list of "); kind(schema.items, into);
  } else if (schema.enum) {
    into.append(schema.enum.map((one) => one === null ? "null" : one).join(" | "));
  } else if (schema.const) {
    into.append(schema.const);
  } else if (schema.properties && schema.properties.items) {
    into.append("page of "); kind(schema.properties.items.items, into);
  } else {
    const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "any";
    into.append(schema.format ? `${type} (${schema.format})` : type);
  }
  return into;
}

const json = (value) => make("pre", JSON.stringify(value, null, 2));

function operation(path, method, op) {
  const box = make("details", "", "op"), head = make("summary"), inside = make("div");
  box.id = `${method}${path}`;
  head.append(make("span", method.toUpperCase(), "method " + method), make("code", path),
    make("span", op.summary, "faint"));
  if (op["x-access"] === "public") head.append(make("span", "no token", "chip"));
  inside.append(...paragraphs(op.description));
  const form = make("form"), inputs = parameters(op, form);
  const body = bodyOf(op, form);
  const go = make("button", method === "post" ? "Send (it acts)" : "Try it"), out = make("div");
  form.append(go);
  form.onsubmit = (event) => { event.preventDefault(); send(path, method, inputs, body, go, out); };
  inside.append(form, out, make("h3", "Answers"), ...answers(op));
  box.append(head, inside);
  return box;
}

function parameters(op, form) {
  const inputs = [];
  const grid = make("div", "", "fields");
  for (const one of op.parameters || []) {
    const input = make("input"), label = make("label", one.name + (one.required ? " *" : ""));
    input.type = "text"; input.required = one.required; input.id = `${op.operationId}-${one.name}`;
    label.htmlFor = input.id;
    input.placeholder = [(one.description || one.schema.description || "").replaceAll("`", ""),
      one.schema.default !== undefined && one.schema.default !== null && one.schema.default !== ""
        ? `default ${one.schema.default}` : "",
      choices(one.schema)].filter(Boolean).join("  ");
    inputs.push([one, input]);
    grid.append(label, input);
  }
  if (inputs.length) form.append(make("h3", "Parameters"), grid);
  return inputs;
}

function choices(schema) {
  const all = [schema, ...(schema.anyOf || [])].find((one) => one.enum);
  return all ? all.enum.join(" | ") : "";
}

function bodyOf(op, form) {
  if (!op.requestBody) return null;
  const media = op.requestBody.content["application/json"], area = make("textarea");
  const head = kind(media.schema, make("h3", op.requestBody.required ? "Body: " : "Body, if any: "));
  area.value = JSON.stringify(media.example, null, 2);
  area.rows = area.value.split("\n").length; area.className = "mono"; area.spellcheck = false;
  area.ariaLabel = "Body";
  form.append(head, area);
  return area;
}

function answers(op) {
  const found = [];
  for (const [status, one] of Object.entries(op.responses)) {
    const line = make("p"), [type, media] = Object.entries(one.content || {})[0] || ["", {}];
    line.append(make("strong", status), " ");
    words(one.description + " ", line);
    if (type !== "application/problem+json") kind(media.schema, line.appendChild(make("span", "", "faint")));
    found.push(line);
    if (media.example) {
      const more = make("details");
      more.append(make("summary", "Example"), json(media.example));
      found.push(more);
    }
  }
  return found;
}

async function send(path, method, inputs, body, go, out) {
  const query = new URLSearchParams(), headers = { "Content-Type": "application/json" };
  let url = path;
  for (const [one, input] of inputs) {
    if (!input.value) continue;
    if (one.in === "path") url = url.replace(`{${one.name}}`, encodeURIComponent(input.value));
    else if (one.in === "query") query.set(one.name, input.value);
    else headers[one.name] = input.value;
  }
  if ($("token").value) headers.Authorization = "Bearer " + $("token").value.trim();
  go.disabled = true;
  try {
    const answer = await fetch(url + (query.size ? "?" + query : ""),
      { method: method.toUpperCase(), headers, body: body ? body.value : undefined, cache: "no-store" });
    const text = await answer.text();
    let shown;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { shown = text; }
    out.replaceChildren(make("h3", `${answer.status} ${answer.statusText}`, answer.ok ? "good" : "bad"),
      make("pre", shown));
  } catch (problem) {
    out.replaceChildren(make("p", "No answer: " + problem.message, "bad"));
  }
  go.disabled = false;
}

function schemaTable(name, schema) {
  const box = make("details", "", "op"), head = make("summary");
  box.id = "schema-" + name;
  head.append(make("strong", name));
  box.append(head, ...paragraphs(schema.description));
  const rows = make("table");
  for (const [field, one] of Object.entries(schema.properties || {})) {
    const line = make("tr");
    line.append(make("td", field, "mono"), kind(one, make("td")), words(one.description || "", make("td", "", "faint")));
    rows.append(line);
  }
  if (schema.enum) box.append(make("p", schema.enum.join(" | "), "mono"));
  box.append(rows);
  return box;
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
}

async function show() {
  const found = await (await fetch("/openapi.json")).json();
  $("title").textContent = `${found.info.title} · API ${found.info.version}`;
  $("introduction").append(...paragraphs(found.info.description));
  for (const tag of found.tags) {
    const part = make("section");
    part.append(make("h2", `${tag.name}: ${tag.description}`));
    for (const [path, methods] of Object.entries(found.paths))
      for (const [method, op] of Object.entries(methods))
        if ((op.tags || []).includes(tag.name)) part.append(operation(path, method, op));
    $("routes").append(part);
  }
  for (const [name, schema] of Object.entries(found.components.schemas).sort())
    $("schemas").append(schemaTable(name, schema));
  openTarget();
}

$("token").value = sessionStorage.getItem(KEY) || "";
$("token").oninput = () => { sessionStorage.setItem(KEY, $("token").value.trim()); };
addEventListener("hashchange", openTarget);
show().catch((problem) => { $("introduction").append(make("p", "The documentation cannot be read: " + problem.message, "bad")); });
