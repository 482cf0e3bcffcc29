// A table that can be sorted, read by screen readers, and saved as CSV. All text is set as text.
function show(value, kind) {
  if (value === null || value === undefined) return "";
  if (kind === "number" && !Number.isInteger(value)) { // numbers of pairs or wells are exact
    const size = Math.abs(value);
    return size !== 0 && size < 0.0001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  }
  return String(value);
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null) return 1; // missing values last
  if (b === null) return -1;
  return typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
}

function quote(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv(columns, rows, name) {
  const lines = [columns.map((column) => quote(column.name)), ...rows.map((row) => row.map(quote))];
  const blob = new Blob([lines.map((line) => line.join(",")).join("\r\n") + "\r\n"], {type: "text/csv"});
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function render({model, el}) {
  const title = document.createElement("h2");
  title.tabIndex = -1; // gets focus when the table is the answer to a click in it
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  const table = document.createElement("table");
  const head = document.createElement("thead");
  const body = document.createElement("tbody");
  const save = document.createElement("button");
  save.type = "button";
  save.className = "save";
  save.textContent = "Save as CSV";
  table.append(head, body);
  frame.append(table);
  el.append(title, frame, save);
  let order = null; // number of the column and direction, once a reader has chosen them

  function readOrder() { // an address may have a column that is not there
    const at = model.data.columns.findIndex((column) => column.name === model.order.replace(/^-/, ""));
    order = at < 0 ? null : {at, down: model.order.startsWith("-")};
  }

  function address(value) {
    const query = new URLSearchParams(window.location.search);
    query.set(model.target, value);
    return `?${query}`;
  }

  function cellOf(value, column, index) {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.scope = "row";
    cell.dataset.column = column.title;
    cell.className = column.kind === "number" ? "number" : "text";
    if (column.kind === "link" && value !== null) {
      const link = document.createElement("a");
      link.href = address(value);
      link.textContent = value;
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return; // a new tab or window
        event.preventDefault();
        model.chosen = "";
        model.chosen = String(value);
      });
      cell.append(link);
    } else {
      cell.textContent = show(value, column.kind);
    }
    return cell;
  }

  function sorted() {
    if (order === null) return model.data.rows;
    const {at, down} = order;
    const rows = [...model.data.rows];
    rows.sort((a, b) => (a[at] === null || b[at] === null || !down ? 1 : -1) * compare(a[at], b[at]));
    return rows;
  }

  function fill() {
    body.replaceChildren(...sorted().slice(0, model.limit || undefined).map((row) => {
      const line = document.createElement("tr");
      line.append(...row.map((value, index) => cellOf(value, model.data.columns[index], index)));
      return line;
    }));
  }

  function name() {
    title.textContent = model.label;
    frame.setAttribute("aria-label", model.label);
  }

  function draw() {
    name();
    const line = document.createElement("tr");
    line.append(...model.data.columns.map((column, at) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      if (column.kind === "number") cell.className = "number";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.title;
      button.title = `Sort by ${column.title}`;
      button.addEventListener("click", () => {
        const down = order !== null && order.at === at ? !order.down : column.kind === "number";
        model.order = `${down ? "-" : ""}${column.name}`;
      });
      cell.append(button);
      return cell;
    }));
    head.replaceChildren(line);
    sort();
  }

  function sort() { // the headings stay, one of which has focus
    readOrder();
    [...head.firstChild.children].forEach((cell, at) => {
      if (order === null || order.at !== at) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    });
    fill();
  }

  save.addEventListener("click", () => saveCsv(model.data.columns, sorted(), model.file));
  draw();
  model.on("data", draw);
  model.on("order", sort);
  model.on("label", name);
  model.on("focused", () => {
    title.focus({preventScroll: true});
    title.scrollIntoView({block: "start"});
  });
}
