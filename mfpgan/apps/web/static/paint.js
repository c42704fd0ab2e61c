// From labels and probabilities to coloured pixels. Colours are numbers 0xAABBGGRR, as a canvas keeps them.

const packed = ([red, green, blue], alpha) => ((Math.round(alpha * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// (h * w) labels of the server's pairs of a length and a label.
export function labelsOf(runs, count) {
  const labels = new Uint8Array(count);
  for (let place = 0, at = 0; place < runs.length; place += 2) {
    if (runs[place + 1]) labels.fill(runs[place + 1], at, at + runs[place]);
    at += runs[place];
  }
  return labels;
}

// Every object in its colour with an edge of it; those that are not selected are paler.
export function paintMasks(pixels, labels, width, { colours, opacity, selected }) {
  const fills = new Uint32Array(256), edges = new Uint32Array(256);
  for (let number = 1; number < 256; number++) {
    const colour = colours[(number - 1) % colours.length];
    fills[number] = packed(colour, number === selected ? opacity : opacity * 0.6);
    edges[number] = packed(colour, number === selected ? 1 : 0.7);
  }
  for (let at = 0; at < labels.length; at++) {
    const label = labels[at];
    pixels[at] = label ? (isEdge(labels, at, width) ? edges[label] : fills[label]) : 0;
  }
}

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis

// 0 to 255 through the ramp; the line is where the mask ends.
export function paintProbability(pixels, values, width, { opacity }) {
  const table = Uint32Array.from({ length: 256 }, (_, value) => {
    const place = (value / 255) * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2);
    const colour = RAMP[low].map((part, index) => Math.round(part + (RAMP[low + 1][index] - part) * (place - low)));
    return packed(colour, Math.min(1, opacity * 1.5));
  });
  const inside = values.map((value) => (value > 127 ? 1 : 0));
  for (let at = 0; at < values.length; at++) pixels[at] = inside[at] && isEdge(inside, at, width) ? 0xffffffff : table[values[at]];
}

// The more disliked, the more orange; the selected object's edge shows what is judged.
export function paintHeat(pixels, values, labels, width, { colours, opacity, selected }) {
  const table = Uint32Array.from({ length: 256 }, (_, value) => packed([213, 94, 0], Math.min(1, opacity * 1.7) * (value / 255)));
  const edge = packed(colours[(selected - 1) % colours.length], 1);
  for (let at = 0; at < values.length; at++)
    pixels[at] = labels[at] === selected && isEdge(labels, at, width) ? edge : table[values[at]];
}

function isEdge(labels, at, width) {
  const label = labels[at], column = at % width;
  return (column > 0 && labels[at - 1] !== label) || (column < width - 1 && labels[at + 1] !== label) ||
    (at >= width && labels[at - width] !== label) || (at + width < labels.length && labels[at + width] !== label);
}
