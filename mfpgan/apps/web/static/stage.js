// The photo on the screen: where it lies, how large, and what is drawn over it.

const MOST_SCALE = 40, MARGIN = 24, TOOLS = 76; // screen pixels

const SVG = "http://www.w3.org/2000/svg";
function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export class Stage {
  constructor() {
    for (const name of ["stage", "world", "photo", "layer", "marks"]) this[name] = document.getElementById(name);
    this.size = null; // {width, height} of the photo
    this.scale = 1; // screen pixels of one of the photo
    this.left = this.top = 0;
    this.clicks = [];
    this.waiting = [];
    this.cross = null; // {y, x} in pixels of the photo
    this.fitted = true;
    new ResizeObserver(() => (this.fitted ? this.fit() : this.place())).observe(this.stage);
  }

  async open(address, { width, height, step }) {
    this.photo.src = address;
    await this.photo.decode();
    this.size = { width, height };
    this.layer.width = Math.ceil(width / step);
    this.layer.height = Math.ceil(height / step);
    this.layer.style.width = `${this.layer.width * step}px`;
    this.layer.style.height = `${this.layer.height * step}px`;
    this.world.style.width = `${width}px`;
    this.world.style.height = `${height}px`;
    this.world.hidden = false;
    this.stage.classList.add("ready");
    this.cross = null;
    this.fit();
  }

  close() {
    this.size = null;
    this.world.hidden = true;
    this.stage.classList.remove("ready");
    this.show([]);
  }

  // `fill` colours (h * w) numbers; see paint.js.
  paint(grey, fill) {
    this.world.classList.toggle("grey", grey);
    const context = this.layer.getContext("2d");
    const image = context.createImageData(this.layer.width, this.layer.height);
    fill(new Uint32Array(image.data.buffer), this.layer.width);
    context.putImageData(image, 0, 0);
  }

  fit() {
    if (!this.size) return;
    const { clientWidth: width, clientHeight: height } = this.stage;
    const room = { width: width - 2 * MARGIN, height: height - MARGIN - TOOLS };
    this.scale = Math.max(Math.min(room.width / this.size.width, room.height / this.size.height, MOST_SCALE), 0.01);
    this.left = (width - this.size.width * this.scale) / 2;
    this.top = MARGIN + (room.height - this.size.height * this.scale) / 2;
    this.fitted = true;
    this.place();
  }

  // About a point of the screen, by default the middle.
  zoom(factor, at = null) {
    if (!this.size) return;
    const box = this.stage.getBoundingClientRect();
    const x = at ? at.x - box.left : box.width / 2, y = at ? at.y - box.top : box.height / 2;
    const least = Math.min(1, 80 / Math.max(this.size.width, this.size.height));
    const scale = Math.min(Math.max(this.scale * factor, least), MOST_SCALE);
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.place();
  }

  move(right, down) {
    if (!this.size) return;
    this.left += right;
    this.top += down;
    this.fitted = false;
    this.place();
  }

  place() {
    if (!this.size) return;
    // Some of the photo stays in sight, or it would be lost.
    const { clientWidth: width, clientHeight: height } = this.stage, kept = 60;
    this.left = Math.min(Math.max(this.left, kept - this.size.width * this.scale), width - kept);
    this.top = Math.min(Math.max(this.top, kept - this.size.height * this.scale), height - kept);
    this.world.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
    this.world.classList.toggle("near", this.scale >= 8);
    this.mark();
  }

  // The photo's pixel under a point of the screen, or null beside the photo.
  pixel(at) {
    if (!this.size) return null;
    const box = this.stage.getBoundingClientRect();
    const x = Math.floor((at.x - box.left - this.left) / this.scale), y = Math.floor((at.y - box.top - this.top) / this.scale);
    return x >= 0 && y >= 0 && x < this.size.width && y < this.size.height ? { y, x } : null;
  }

  show(clicks, waiting = []) {
    this.clicks = clicks;
    this.waiting = waiting;
    this.mark();
  }

  // A step of the crosshair, in pixels of the photo, or null for one that is seen on the screen; into sight if need be.
  step(right, down, fine) {
    if (!this.size) return;
    const pixels = fine ? 1 : Math.max(1, Math.round(12 / this.scale));
    const { width, height } = this.size;
    const from = this.cross ?? { y: Math.floor(height / 2), x: Math.floor(width / 2) };
    this.cross = {
      y: Math.min(Math.max(from.y + down * pixels, 0), height - 1),
      x: Math.min(Math.max(from.x + right * pixels, 0), width - 1),
    };
    const { x, y } = this.onScreen(this.cross), edge = 40;
    const { clientWidth, clientHeight } = this.stage;
    if (x < edge || y < edge || x > clientWidth - edge || y > clientHeight - edge - TOOLS)
      this.move(Math.max(edge - x, 0) - Math.max(x - clientWidth + edge, 0), Math.max(edge - y, 0) - Math.max(y - clientHeight + edge + TOOLS, 0));
    this.mark();
  }

  onScreen({ y, x }) {
    return { x: this.left + (x + 0.5) * this.scale, y: this.top + (y + 0.5) * this.scale };
  }

  mark() {
    const parts = [];
    for (const [clicks, name] of [[this.clicks, ""], [this.waiting, "waits"]])
      for (const [y, x, positive] of clicks) {
        const at = this.onScreen({ y, x });
        const mark = svg("g", { transform: `translate(${at.x.toFixed(1)} ${at.y.toFixed(1)})`, class: name });
        mark.append(svg("circle", { r: 10, class: "rim" }), svg("circle", { r: 7.5, class: positive ? "add" : "remove" }));
        mark.append(svg("path", { d: positive ? "M-3.8 0H3.800M0-3.800V3.8" : "M-3.8 0H3.8", class: "sign" }));
        parts.push(mark);
      }
    if (this.cross && this.size) {
      const { x, y } = this.onScreen(this.cross);
      const d = `M${x - 18} ${y}H${x - 4}M${x + 4} ${y}H${x + 18}M${x} ${y - 18}V${y - 4}M${x} ${y + 4}V${y + 18}`;
      parts.push(svg("path", { d, class: "cross under" }), svg("path", { d, class: "cross" }));
    }
    this.marks.replaceChildren(...parts);
  }
}
