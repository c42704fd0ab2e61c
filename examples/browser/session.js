// One person at one photo with an exported network: mfpgan/apps/onnx/engine.py, numpy_twins.py and mfpgan/zoom.py in JavaScript.
// A plane is {height, width, data: Float32Array}, a click {y, x, positive} in pixels from the top left, a view
// {top, left, bottom, right}.

const THRESHOLD = 0.5;
const EXPANSION = 1.4;
const MIN_VIEW_PX = 200;
const KEEP_IOU = 0.5;
const SHRUNK = 4;
const REACH = { disk: 1, gaussian: 6, distance: 1 };
const PROFILE = {
  disk: () => 1,
  gaussian: (squared, radius) => Math.exp(-squared / (2 * radius ** 2)),
  distance: (squared, radius) => 1 - Math.sqrt(squared) / radius,
};

/** As Python rounds: halves to the even neighbour. */
export function round(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The clicks that count: of several on one pixel the last. */
export function standing(clicks) {
  const last = new Map();
  for (const click of clicks) {
    const key = `${click.y},${click.x}`;
    last.delete(key);
    last.set(key, click);
  }
  return [...last.values()];
}

const positiveStands = (clicks) => standing(clicks).some((click) => click.positive);

/** The two click maps, (2, height, width) in one array. */
export function drawClicks(clicks, height, width, shape, radius) {
  const maps = new Float32Array(2 * height * width);
  const reach = Math.min(Math.trunc(REACH[shape] * radius), Math.max(height, width) - 1);
  for (const { y, x, positive } of standing(clicks)) {
    const offset = positive ? 0 : height * width;
    for (let row = Math.max(y - reach, 0); row <= Math.min(y + reach, height - 1); row++) {
      for (let column = Math.max(x - reach, 0); column <= Math.min(x + reach, width - 1); column++) {
        const squared = (row - y) ** 2 + (column - x) ** 2;
        if (squared > (REACH[shape] * radius) ** 2) continue;
        const at = offset + row * width + column;
        maps[at] = Math.max(maps[at], PROFILE[shape](squared, radius));
      }
    }
  }
  return maps;
}

/** MFP's modulation of the last answer round the last click. */
export function modulate(plane, clicks) {
  const { height, width } = plane;
  const data = plane.data.slice();
  if (!clicks.length || !data.some((value) => value !== 0)) return { height, width, data };
  const others = standing(clicks);
  const last = others.pop();
  const squares = others
    .filter((click) => click.positive !== last.positive)
    .map((click) => (click.y - last.y) ** 2 + (click.x - last.x) ** 2);
  const diameterSquared = Math.min(...squares, 200 ** 2);
  const reachSquared = Math.floor(diameterSquared / 4);
  const reach = Math.floor(Math.sqrt(reachSquared));
  const inside = [];
  for (let y = Math.max(last.y - reach, 0); y <= Math.min(last.y + reach, height - 1); y++) {
    for (let x = Math.max(last.x - reach, 0); x <= Math.min(last.x + reach, width - 1); x++) {
      const squared = (y - last.y) ** 2 + (x - last.x) ** 2;
      if (squared <= reachSquared) inside.push([y * width + x, squared]);
    }
  }
  const logarithm = (value) => Math.log(Math.min(Math.max(value, 2 ** -126), 1 - 2 ** -24));
  const clicked = data[last.y * width + last.x];
  const ratio = last.positive ? logarithm(clicked) / Math.log(0.99) : Math.log(1 - 0.99) / logarithm(clicked);
  const steepest = Math.max(ratio, 1);
  const difference = ([at]) => Math.fround(Math.fround(data[at] - clicked) ** 2);
  const sorted = Float32Array.from(inside, difference).sort();
  const median = sorted[Math.floor((inside.length + 1) / 2) - 1];
  const gammas = inside.map((pixel) => {
    if (clicks.length > 7) return (steepest - 1) * (1 - Math.sqrt((pixel[1] * 4) / diameterSquared)) + 1;
    const far = difference(pixel);
    return (steepest - 1) * Math.max(1 - (far === 0 ? 0 : far / median), 0) ** 3 + 1;
  });
  inside.forEach(([at], number) => {
    const gamma = gammas[number];
    if (gamma > 1) data[at] = Math.exp(last.positive ? logarithm(data[at]) / gamma : logarithm(data[at]) * gamma);
  });
  return { height, width, data };
}

/** Where the network looks to answer the newest click; null: at the whole photo. */
export function nextView(previous, clicks, last) {
  if (!previous || clicks.length <= 1) return null;
  let [top, bottom, left, right] = [Infinity, -1, Infinity, -1];
  const include = (y, x) => {
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
    left = Math.min(left, x);
    right = Math.max(right, x);
  };
  const { height, width, data } = previous;
  for (let at = 0; at < data.length; at++) if (data[at] > THRESHOLD) include(Math.floor(at / width), at % width);
  if (bottom < 0) return null;
  const positive = standing(clicks).filter((click) => click.positive);
  positive.forEach((click) => include(click.y, click.x));
  const [newTop, newBottom] = enlarged(top, bottom, height);
  const [newLeft, newRight] = enlarged(left, right, width);
  const view = { top: newTop, left: newLeft, bottom: newBottom, right: newRight };
  if (last && positive.every((click) => holds(last, click))) return overlap(last, view) >= KEEP_IOU ? last : view;
  return view;
}

const holds = (view, { y, x }) => view.top <= y && y < view.bottom && view.left <= x && x < view.right;

function enlarged(first, last, limit) {
  const middle = (first + last) / 2;
  const reach = Math.max(EXPANSION * (last - first + 1), MIN_VIEW_PX) / 2;
  return [Math.max(round(middle - reach), 0), Math.min(round(middle + reach) + 1, limit)];
}

function overlap(a, b) {
  const side = (low, high) =>
    Math.max(Math.min(a[high], b[high]) - Math.max(a[low], b[low]), 0) /
    (Math.max(a[high], b[high]) - Math.min(a[low], b[low]));
  return side("top", "bottom") * side("left", "right");
}

export function cropSize(view, sizePx) {
  const [height, width] = [view.bottom - view.top, view.right - view.left];
  const scale = sizePx / Math.max(height, width);
  return [Math.max(round(height * scale), 1), Math.max(round(width * scale), 1)];
}

/** For each new pixel the old ones that it is made of: [first old pixel, weights]; corner onto corner. */
function weightsOf(length, wanted, averaged) {
  const step = wanted > 1 || averaged ? (length - 1) / Math.max(wanted - 1, 1) : 0;
  return Array.from({ length: wanted }, (_, number) => {
    const middle = number * step;
    const reach = averaged ? Math.max(step, 1) : 1;
    const first = Math.max(Math.ceil(middle - reach), 0);
    const weights = [];
    for (let at = first; at <= Math.min(Math.floor(middle + reach), length - 1); at++) {
      weights.push(Math.max(1 - Math.abs(at - middle) / reach, 0));
    }
    const sum = weights.reduce((a, b) => a + b);
    return [first, weights.map((weight) => weight / sum)];
  });
}

/** A part of (rows, columns, channels) of numbers, resized; `scale` is 1 / 255 for bytes. */
export function resize(pixels, columns, channels, used, scale, view, [height, width]) {
  const [high, wide] = [view.bottom - view.top, view.right - view.left];
  const averaged = Math.max(high / height, wide / width) > SHRUNK;
  const across = weightsOf(wide, width, averaged);
  const result = Array.from({ length: used }, () => new Float32Array(height * width));
  weightsOf(high, height, averaged).forEach(([first, weights], row) => {
    weights.forEach((down, number) => {
      const start = (view.top + first + number) * columns + view.left;
      across.forEach(([from, sides], column) => {
        for (let channel = 0; channel < used; channel++) {
          let sum = 0;
          for (let k = 0; k < sides.length; k++) sum += sides[k] * pixels[(start + from + k) * channels + channel];
          result[channel][row * width + column] += down * sum * scale;
        }
      });
    });
  });
  return result;
}

/** The clicks that lie in the view, in pixels of its crop, each on a pixel of its own. */
export function clicksIn(clicks, view, sizePx) {
  const [height, width] = cropSize(view, sizePx);
  const moved = (offset, length, wanted) => (length > 1 ? (offset * (wanted - 1)) / (length - 1) : 0);
  const places = new Map();
  const taken = new Set();
  return clicks
    .filter((click) => holds(view, click))
    .map(({ y, x, positive }) => {
      const key = `${y},${x}`;
      if (!places.has(key)) {
        const row = moved(y - view.top, view.bottom - view.top, height);
        const column = moved(x - view.left, view.right - view.left, width);
        const place = nearestFree(row, column, height, width, taken);
        places.set(key, place);
        taken.add(place.join());
      }
      const [row, column] = places.get(key);
      return { y: row, x: column, positive };
    });
}

function nearestFree(row, column, height, width, taken) {
  const nearest = [round(row), round(column)];
  if (!taken.has(nearest.join()) || taken.size === height * width) return nearest;
  let [best, found] = [Infinity, nearest];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const squared = (y - row) ** 2 + (x - column) ** 2;
      if (squared < best && !taken.has(`${y},${x}`)) [best, found] = [squared, [y, x]];
    }
  }
  return found;
}

function paste(plane, view, height, width) {
  const size = [view.bottom - view.top, view.right - view.left];
  const all = { top: 0, left: 0, bottom: plane.height, right: plane.width };
  const [inside] = resize(plane.data, plane.width, 1, 1, 1, all, size);
  const whole = { height, width, data: new Float32Array(height * width) };
  for (let row = 0; row < size[0]; row++) {
    whole.data.set(inside.subarray(row * size[1], (row + 1) * size[1]), (view.top + row) * width + view.left);
  }
  return whole;
}

/** An exported network with what its metadata say; onnxruntime-web does not hand these out, so they are read from the file. */
export async function loadNetwork(ort, bytes) {
  const facts = metadata(bytes);
  if (!facts["mfpgan.memory"]) throw new Error("its metadata lack mfpgan.memory");
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return {
    memory: facts["mfpgan.memory"],
    shape: facts["mfpgan.click_shape"],
    radius: Number(facts["mfpgan.click_radius"]),
    size: Number(facts["mfpgan.size"]),
    async run(inputs) {
      const fed = {};
      for (const name of session.inputNames) fed[name] = new ort.Tensor("float32", ...inputs[name]);
      return (await session.run(fed)).probability.data;
    },
  };
}

/** The pairs of key and value in field 14, metadata_props, of an ONNX file, which is a protocol buffer. */
export function metadata(bytes) {
  const text = new TextDecoder();
  const facts = {};
  const fields = function* (from, to) {
    let at = from;
    const varint = () => {
      let [value, factor] = [0, 1];
      for (;;) {
        if (at >= to) throw new Error("it is cut off");
        const byte = bytes[at++];
        value += (byte & 127) * factor;
        if (byte < 128) return value;
        factor *= 128;
      }
    };
    while (at < to) {
      const tag = varint();
      const kind = tag % 8;
      if (kind === 0) varint();
      else if (kind === 1) at += 8;
      else if (kind === 5) at += 4;
      else if (kind === 2) {
        const length = varint();
        yield [Math.floor(tag / 8), at, at + length];
        at += length;
      } else throw new Error("it is no ONNX file");
    }
  };
  for (const [field, from, to] of fields(0, bytes.length)) {
    if (field !== 14) continue;
    const pair = {};
    for (const [part, start, end] of fields(from, to)) pair[part] = text.decode(bytes.subarray(start, end));
    facts[pair[1]] = pair[2];
  }
  return facts;
}

/** One person at one photo: `click`, `undo`, `mask`, as `mfpgan.ClickSession` with zoom. */
export class Session {
  /** @param rgba height * width * 4 bytes, as `ImageData` has them. */
  constructor(network, rgba, height, width) {
    Object.assign(this, { network, rgba, height, width });
    this.states = [{ clicks: [], answer: null, place: null, view: null }];
  }

  get clicks() {
    return this.states.at(-1).clicks;
  }

  /** The probability of each pixel, or null before the first click. */
  probability() {
    const { answer, place } = this.states.at(-1);
    return answer && paste(answer, place, this.height, this.width);
  }

  /** For each pixel whether it belongs to the object, or null before the first click. */
  mask() {
    const plane = this.probability();
    return plane && plane.data.map((value) => value > THRESHOLD);
  }

  undo() {
    if (this.states.length > 1) this.states.pop();
  }

  async click(y, x, positive = true) {
    const state = this.states.at(-1);
    const newest = { y, x, positive };
    const clicks = [...state.clicks, newest];
    const previous = positiveStands(state.clicks) && positiveStands(clicks) ? this.probability() : null;
    const view = previous && nextView(previous, clicks, state.view);
    if (view && !holds(view, newest)) {
      this.states.push({ ...state, clicks, view }); // the network would not see it
      return;
    }
    const shown = view ?? { top: 0, left: 0, bottom: this.height, right: this.width };
    const [height, width] = cropSize(shown, this.network.size);
    const colours = resize(this.rgba, this.width, 4, 3, 1 / 255, shown, [height, width]);
    const image = new Float32Array(3 * height * width);
    colours.forEach((plane, channel) => image.set(plane, channel * height * width));
    const last = previous && {
      height,
      width,
      data: resize(previous.data, this.width, 1, 1, 1, shown, [height, width])[0],
    };
    const answer = await this.#held(image, clicksIn(clicks, shown, this.network.size), last, height, width);
    this.states.push({ clicks, answer, place: shown, view });
  }

  async #held(image, clicks, previous, height, width) {
    let last = previous;
    if (!last && this.network.memory === "modulated") {
      last = hold(await this.#forward(image, clicks, null, height, width), clicks, null);
    }
    return hold(await this.#forward(image, clicks, last, height, width), clicks, last);
  }

  async #forward(image, clicks, previous, height, width) {
    const last = previous ?? { height, width, data: new Float32Array(height * width) };
    const maps = drawClicks(clicks, height, width, this.network.shape, this.network.radius);
    const data = await this.network.run({
      image: [image, [1, 3, height, width]],
      clicks: [maps, [1, 2, height, width]],
      previous: [last.data, [1, 1, height, width]],
      has_previous: [Float32Array.of(previous ? 1 : 0), [1]],
      modulated: [modulate(last, clicks).data, [1, 1, height, width]],
    });
    return { height, width, data };
  }
}

/** While clicks only take away, nothing is above the answer before them. */
function hold(answer, clicks, previous) {
  if (positiveStands(clicks)) return answer;
  return { ...answer, data: answer.data.map((value, at) => (previous ? Math.min(value, previous.data[at]) : 0)) };
}
