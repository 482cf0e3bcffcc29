
// The page of a static site: search, neighbors and pairs. All text is set as text.
const PAGE = 200; // known pairs that are shown at once
const OFFERED = 50; // names that the search offers
const element = (id) => document.getElementById(id);
const state = new URLSearchParams(window.location.search);
let site = null; // names.json
let texts = []; // [text, the same in lower case, row]
let layout = null; // layout.json

class Model { // what `render` expects of the app
  constructor(id, file) {
    Object.assign(this, {data: {columns: [], rows: []}, label: "", file, target: "row"});
    this.heard = {};
    this.sorted = "";
    render({model: this, el: element(id)});
  }
  on(name, hear) { this.heard[name] = hear; }
  fill(label, columns, rows) {
    this.label = label;
    this.data = {columns: columns.map(([title, kind]) => ({name: title, title, kind})), rows};
    this.heard.data();
  }
  get order() { return this.sorted; }
  set order(text) {
    this.sorted = text;
    this.heard.order();
  }
  set chosen(name) { if (name) choose(site.names.indexOf(name)).then(focusRow); }
}

function say(sentence) { element("message").textContent = sentence; }

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} could not be read (${answer.status})`);
  return answer.json();
}

function go(changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) state.delete(name);
    else state.set(name, value);
  }
  const query = state.toString();
  history.pushState(null, "", query ? `?${query}` : window.location.pathname);
}

function choose(row) {
  go({row: site.names[row]});
  return guard(showRow);
}

// The link that was clicked is gone with its table.
function focusRow() {
  element("row").focus({preventScroll: true});
  element("row").scrollIntoView({block: "start"});
}

function effectsOf(row) {
  return Object.entries(site.effects).map(([name, values]) => [name.replaceAll("_", " "), values[row]]);
}

async function showRow() {
  const name = state.get("row") ?? "";
  const row = site.names.indexOf(name);
  element("of-row").hidden = row < 0;
  element("search").value = name;
  document.title = row < 0 ? document.querySelector("h1").textContent : name;
  say(row < 0 && name ? `${name} is not on the map.` : "");
  mark([]);
  if (row < 0) return;
  const file = String(Math.floor(row / site.rows)).padStart(4, "0");
  const answer = (await read(`data/rows-${file}.json`)).rows[row % site.rows];
  if (state.get("row") !== name) return; // another was chosen meanwhile
  const effects = effectsOf(row).filter(([, value]) => value !== null);
  const about = effects.map(([word, value]) => `${word} ${show(value, "number")}`).join(", ");
  element("row").textContent = about ? `${name} (${about})` : name;
  showPictures(answer.pictures);
  mark([...answer.nearest.slice(0, 10).map(([other]) => other).reverse(), row]);
  const columns = [["rank", "number"], ["neighbor", "link"], ["cosine", "number"], ["p", "number"], ["FDR", "number"], ["known", "text"]];
  columns.push(...effectsOf(row).map(([word]) => [word, "number"]));
  for (const [side, preposition] of [["nearest", "to"], ["farthest", "from"]]) {
    const rows = answer[side].map(([other, ...values], at) => [at + 1, site.names[other], ...values, ...effectsOf(other).map(([, value]) => value)]);
    tables[side].fill(`${side[0].toUpperCase()}${side.slice(1)} ${preposition} ${name}`, columns, rows);
  }
  const pairs = answer.pairs.map(([source, other, cosine, percentile, result]) => [site.names[other], site.sources[source][0], cosine, percentile, site.results[result]]);
  element("known").hidden = site.sources.length === 0;
  tables.known.fill(`Known pairs of ${name}: ${pairs.length || "none"}`, [["name", "link"], ["source", "text"], ...PAIR], pairs);
}

const PAIR = [["cosine", "number"], ["share of pairs below", "number"], ["result", "text"]];

function showPictures(pictures) {
  document.querySelector(".pictures").replaceChildren(...pictures.map(([path, text], at) => {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    const caption = document.createElement("figcaption");
    caption.textContent = at ? `control, ${text}` : text;
    image.src = path;
    image.alt = caption.textContent;
    figure.append(image, caption);
    return figure;
  }));
}

// Pairs of a source have their results in one order, that of their cosines.
function rangeOf(counts, result) {
  const starts = [0, counts[0], counts[0] + counts[1], counts[0] + counts[1] + counts[2]];
  const at = site.results.indexOf(result);
  return at < 0 ? [0, starts[3]] : [starts[at], starts[at + 1]];
}

async function readPairs(source, from, to) {
  const files = [];
  for (let file = Math.floor(from / site.pairs); file * site.pairs < to; file++) {
    files.push(read(`data/pairs-${String(source).padStart(2, "0")}-${String(file).padStart(4, "0")}.json`));
  }
  const every = (await Promise.all(files)).flatMap((part) => part.pairs);
  const start = Math.floor(from / site.pairs) * site.pairs;
  return every.slice(from - start, to - start);
}

async function showPairs() {
  const names = site.sources.map(([name]) => name);
  const source = Math.max(0, names.indexOf(state.get("source")));
  const result = site.results.includes(state.get("result")) ? state.get("result") : "";
  element("source").value = String(source);
  element("result").value = result;
  const [start, end] = rangeOf(site.sources[source].slice(1), result);
  const page = Math.min(Number.parseInt(state.get("page") ?? "0", 10) || 0, Math.max(0, Math.ceil((end - start) / PAGE) - 1));
  const from = start + Math.max(0, page) * PAGE;
  const to = Math.min(from + PAGE, end);
  const asked = state.toString();
  const pairs = await readPairs(source, from, to);
  if (state.toString() !== asked) return;
  const rows = pairs.map(([first, second, cosine, percentile, each]) => [site.names[first], site.names[second], cosine, percentile, site.results[each]]);
  const which = end - start > PAGE ? `, ${from - start + 1} to ${to - start} by cosine` : "";
  tables.pairs.fill(`Known pairs (${names[source]}${result && `, ${result}`}): ${end - start}${which}`, [["name", "link"], ["other name", "link"], ...PAIR], rows);
  element("before").disabled = from === start;
  element("after").disabled = to === end;
  document.querySelector(".pages").hidden = end - start <= PAGE;
  element("before").onclick = () => { go({page: page - 1}); guard(showPairs); };
  element("after").onclick = () => { go({page: page + 1}); guard(showPairs); };
}

function buildSources() {
  const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;
  element("rule").textContent = `A pair is found if its cosine is among the lowest ${percent(site.percentiles[0])} or the highest ${percent(1 - site.percentiles[1])} of all pairs of the map.`;
  const rows = site.sources.map(([name, similar, missed, opposite]) => {
    const total = similar + missed + opposite;
    return [name, total, similar, opposite, missed, total ? (similar + opposite) / total : null];
  });
  tables.sources.fill("Known pairs per source", [["source", "text"], ...["pairs", "similar", "opposite", "missed", "recall"].map((word) => [word, "number"])], rows);
  element("source").replaceChildren(...site.sources.map(([name], at) => new Option(name, String(at))));
  element("result").replaceChildren(new Option("found and missed", ""), ...site.results.map((word) => new Option(word, word)));
  element("source").onchange = (event) => { go({source: site.sources[event.target.value][0], page: null}); guard(showPairs); };
  element("result").onchange = (event) => { go({result: event.target.value || null, page: null}); guard(showPairs); };
}

function draw(kind, attributes) {
  const part = document.createElementNS(element("marks").namespaceURI, kind);
  for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, String(value));
  return part;
}

// The last of the rows is the searched one, and is drawn above the others.
function mark(rows) {
  const marks = element("marks");
  marks.replaceChildren(...rows.map((row, at) => {
    const [x, y] = layout.points[row];
    const last = at === rows.length - 1;
    return draw("circle", {cx: x, cy: y, r: last ? 15 : 10, fill: last ? "#d55e00" : "#e69f00", stroke: "#fff", "stroke-width": 2});
  }));
  if (rows.length === 0) return;
  const [x, y] = layout.points[rows.at(-1)];
  const right = x > layout.width / 2; // the name is on the side with more space
  const text = draw("text", {x: x + (right ? -22 : 22), y: Math.max(y - 16, 30), "text-anchor": right ? "end" : "start"});
  const name = site.names[rows.at(-1)];
  text.textContent = name.length > 24 ? `${name.slice(0, 23)}…` : name;
  marks.append(text);
}

function buildLayout() {
  const marks = element("marks");
  marks.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
  marks.addEventListener("click", (event) => {
    const scale = layout.width / marks.getBoundingClientRect().width;
    const away = layout.points.map(([x, y]) => Math.hypot(x - event.offsetX * scale, y - event.offsetY * scale));
    const row = away.reduce((best, each, at) => (each < away[best] ? at : best), 0);
    if (away[row] < 30) choose(row);
  });
}

function offer(text) {
  const box = element("search");
  const low = text.trim().toLowerCase();
  const first = [];
  const inside = [];
  for (const each of low ? texts : []) {
    const place = each[1].indexOf(low);
    if (place === 0) first.push(each);
    else if (place > 0 && inside.length < OFFERED) inside.push(each);
    if (first.length === OFFERED) break;
  }
  const offered = [...first, ...inside].slice(0, OFFERED);
  element("found").replaceChildren(...offered.map(([name, , row], at) => {
    const item = document.createElement("li");
    item.id = `found-${at}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.textContent = name === site.names[row] ? name : `${name} (${site.names[row]})`;
    item.dataset.row = row;
    item.addEventListener("mousedown", (event) => { event.preventDefault(); close(); choose(row); });
    return item;
  }));
  const open = offered.length > 0;
  element("found").hidden = !open;
  box.setAttribute("aria-expanded", String(open));
  box.removeAttribute("aria-activedescendant");
}

function close() { offer(""); }

function markOffer(step) {
  const items = [...element("found").children];
  if (items.length === 0) return;
  const before = items.findIndex((item) => item.getAttribute("aria-selected") === "true");
  const at = (before + step + items.length + (before < 0 && step < 0 ? 1 : 0)) % items.length;
  items.forEach((item, place) => item.setAttribute("aria-selected", String(place === at)));
  items[at].scrollIntoView({block: "nearest"});
  element("search").setAttribute("aria-activedescendant", items[at].id);
}

function enter() {
  const marked = element("found").querySelector("[aria-selected=true]");
  const text = element("search").value.trim();
  const known = texts.find(([name]) => name === text) ?? texts.find(([, low]) => low === text.toLowerCase());
  close();
  if (marked) choose(Number(marked.dataset.row));
  else if (known) choose(known[2]);
  else if (text) say(`${text} is not on the map.`);
}

function listen() {
  const box = element("search");
  box.addEventListener("input", () => { say(""); offer(box.value); });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      markOffer(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") enter();
    else if (event.key === "Escape") close();
  });
  window.addEventListener("popstate", () => {
    for (const name of [...state.keys()]) state.delete(name);
    for (const [name, value] of new URLSearchParams(window.location.search)) state.set(name, value);
    guard(showAll);
  });
}

async function showAll() {
  await showRow();
  if (site.sources.length) await showPairs();
}

function guard(work) { return work().catch((error) => say(error.message)); }

const tables = {
  nearest: new Model("nearest", "nearest.csv"),
  farthest: new Model("farthest", "farthest.csv"),
  known: new Model("known", "known-pairs.csv"),
  sources: new Model("sources", "sources.csv"),
  pairs: new Model("pairs", "pairs.csv"),
  new: new Model("new", "new-pairs.csv"),
};

guard(async () => {
  [site, layout] = await Promise.all([read("data/names.json"), read("data/layout.json")]);
  buildLayout();
  texts = [...site.names.map((name, row) => [name, name.toLowerCase(), row]), ...Object.entries(site.labels).map(([text, row]) => [text, text.toLowerCase(), row])];
  listen();
  const hasSources = site.sources.length > 0;
  for (const id of ["rule", "sources", "pairs"]) element(id).hidden = !hasSources;
  document.querySelector(".choices").hidden = !hasSources;
  document.querySelector(".pages").hidden = !hasSources;
  if (hasSources) buildSources();
  const highest = (await read("data/new.json")).pairs.map(([first, second, cosine]) => [site.names[first], site.names[second], cosine]);
  const what = hasSources ? "that no source has" : "of the map";
  tables.new.fill(`The ${highest.length} highest pairs ${what}`, [["name", "link"], ["other name", "link"], ["cosine", "number"]], highest);
  await showAll();
});
