"use strict";
// Finds a name of the map, lists its nearest names, and marks them on the layout.
{
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("search-data").textContent);
  const decode = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const nearest = decode(data.nearest, Uint16Array);
  const cosines = decode(data.cosines, Int8Array);
  const points = decode(data.points, Uint16Array);
  const lower = data.names.map((name) => name.toLowerCase());
  const box = at("search-box"), matches = at("search-matches"), found = at("search-found"), canvas = at("search-layout");

  const link = (row) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = data.names[row];
    button.addEventListener("click", () => show(row));
    return button;
  };

  // Names that contain the text, those that begin with it first.
  const find = (text) => {
    const rows = lower.flatMap((name, row) => (name.includes(text) ? [row] : []));
    const rank = (row) => (lower[row] === text ? 0 : lower[row].startsWith(text) ? 1 : 2);
    return rows.sort((one, other) => rank(one) - rank(other) || one - other);
  };

  const offer = () => {
    const text = box.value.trim().toLowerCase();
    const rows = text === "" ? [] : find(text);
    matches.replaceChildren(...rows.slice(0, data.offered).map(link));
    if (text !== "" && rows.length === 0) matches.textContent = "The map has no such name.";
    return rows;
  };

  const show = (row) => {
    box.value = data.names[row];
    offer();
    const list = document.createElement("ol");
    const rows = [];
    for (let place = row * data.k; place < (row + 1) * data.k; place += 1) {
      const line = document.createElement("li");
      line.append(link(nearest[place]), ` ${(cosines[place] / 100).toFixed(2)}`);
      list.append(line);
      rows.push(nearest[place]);
    }
    const heading = document.createElement("p");
    heading.textContent = `Nearest to ${data.names[row]}, with cosines:`;
    found.replaceChildren(heading, list);
    draw(row, rows);
  };

  const draw = (row, rows) => {
    if (points.length === 0) return;
    canvas.hidden = false;
    const radius = Math.max(1.5, Math.min(4, 60 / Math.sqrt(data.names.length)));
    const side = canvas.width, pen = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const dot = (which, size, color) => {
      pen.fillStyle = color;
      pen.beginPath();
      pen.arc(8 + points[2 * which] / 65535 * (side - 16), 8 + points[2 * which + 1] / 65535 * (side - 16), size, 0, 7);
      pen.fill();
    };
    pen.clearRect(0, 0, side, side);
    pen.globalAlpha = 0.5;
    for (let which = 0; which < data.names.length; which += 1) dot(which, radius, style.getPropertyValue("--soft"));
    pen.globalAlpha = 1;
    for (const which of rows) dot(which, radius + 4, style.getPropertyValue("--mark"));
    dot(row, radius + 6, "#d55e00");
  };

  box.addEventListener("input", offer);
  box.addEventListener("keydown", (event) => {
    const rows = event.key === "Enter" ? offer() : [];
    if (rows.length > 0) show(rows[0]);
  });
  // Without scripts, as in some mail programs, the page has no box that does nothing.
  at("search").hidden = at("search-link").hidden = false;
}
