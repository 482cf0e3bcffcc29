// Pictures in pairs, a name and a control; a click shows a field at full resolution.
export function render({model, el}) {
  const list = document.createElement("div");
  list.className = "list";
  const large = document.createElement("section");
  large.className = "large";
  large.setAttribute("aria-label", "Enlarged field");
  el.append(list, large);
  let scale = 1;

  function address(path, size) {
    const query = new URLSearchParams({channels: model.channels.join(",")});
    if (size) query.set("size", size);
    return `${path}?${query}`;
  }

  function pictureOf(item) {
    const figure = document.createElement("figure");
    if (item.control) figure.className = "control";
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Enlarge ${item.text}`);
    button.addEventListener("click", () => { model.field = -1; model.field = item.field; });
    const image = document.createElement("img");
    image.src = address(item.path, 360);
    image.alt = item.text;
    image.loading = "lazy";
    image.width = 360;
    image.height = Math.max(1, Math.round(360 * item.height / item.width));
    button.append(image);
    const caption = document.createElement("figcaption");
    caption.textContent = item.text;
    figure.append(button, caption);
    return figure;
  }

  function fill() {
    list.replaceChildren(...model.items.map((pair) => {
      const row = document.createElement("div");
      row.className = pair.length > 2 ? "many" : "pair";
      row.append(...pair.map(pictureOf));
      return row;
    }));
    enlarge();
  }

  function enlarge() {
    large.replaceChildren();
    large.hidden = model.field < 0;
    if (model.field < 0) return;
    const bar = document.createElement("div");
    bar.className = "bar";
    const title = document.createElement("strong");
    title.textContent = model.field_text;
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", `${model.field_text}, full resolution`);
    const image = document.createElement("img");
    image.alt = model.field_text;
    image.src = address(`fields/${model.field}.png`);
    image.addEventListener("click", (event) => {
      // In pixels of the store: the picture of a large field is smaller.
      const [height, width] = model.field_shape;
      model.point = [
        Math.floor(event.offsetX * width / image.clientWidth),
        Math.floor(event.offsetY * height / image.clientHeight),
      ];
    });
    const resize = () => { image.style.width = `${image.naturalWidth * scale}px`; };
    image.addEventListener("load", resize);
    const buttons = [0.5, 1, 2, 4].map((factor) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${factor * 100} %`;
      button.setAttribute("aria-pressed", String(factor === scale));
      button.addEventListener("click", () => {
        scale = factor;
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        resize();
      });
      return button;
    });
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => { model.field = -1; });
    bar.append(title, ...buttons, close);
    frame.append(image);
    large.append(bar, frame);
  }

  fill();
  model.on("items", fill);
  model.on("channels", fill);
  model.on("field", enlarge);
  model.on("field_text", enlarge);
}
