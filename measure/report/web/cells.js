// The cells of slices, unpacked: their colours, their places, what each holds.

import { inflated } from "./unpacking.js";

const unpacked = new Map();

// Colours, then a place in `tokens` for each cell, two bytes each.
export async function unpack(slices) {
  if (!unpacked.has(slices)) {
    const whole = await inflated(slices.packed).arrayBuffer();
    const cells = slices.largest.length * slices.size ** 2;
    unpacked.set(slices, { rgb: new Uint8Array(whole, 0, 3 * cells), tokens: new DataView(whole, 3 * cells) });
  }
  return unpacked.get(slices);
}

// Orange, yellow and blue, as in the figures: told apart by every eye; the closer to its reference the stronger.
const NEAREST = [[213, 94, 0], [245, 230, 99], [0, 114, 178]];

export function cellColour(rgb, plain) {
  if (plain) return rgb;
  const best = rgb.indexOf(Math.max(...rgb));
  return NEAREST[best].map((channel) => Math.round(255 - ((255 - channel) * rgb[best]) / 255));
}

const along = ({ extent, size }, place) => extent[0] + ((extent[1] - extent[0]) * place) / (size - 1);
// Where a place in the plane lies on a square of 100, from its left or lower edge.
export const placed = ({ extent, size }, value) => (100 * (0.5 + ((size - 1) * (value - extent[0])) / (extent[1] - extent[0]))) / size;

// What one cell holds: alpha, beta, the distances with their shares of the largest, the most probable token.
export function cellOf(slices, cells, triple, row, column) {
  const at = (triple * slices.size + row) * slices.size + column;
  const rgb = cells.rgb.subarray(3 * at, 3 * at + 3);
  const shares = [0, 1, 2].map((place) => 1 - rgb[place] / 255);
  return { alpha: along(slices, column), beta: along(slices, row), shares,
    distances: shares.map((share, place) => share * slices.largest[triple][place]), token: slices.tokens[cells.tokens.getUint16(2 * at, true)] };
}
