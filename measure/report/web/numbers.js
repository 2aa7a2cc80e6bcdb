// Numbers as words; lists and ranges of them.

export const QUARTILES = ["q25", "median", "q75"];

export const known = (value) => value !== null && value !== undefined;
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
export const signed = (value) => (known(value) ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}` : "none");
export const fixed = (value, digits = 3) => (known(value) ? value.toFixed(digits).replace("-", "−") : "none");
export const interval = (effect) => `${signed(effect.estimate)} [${signed(effect.low)}, ${signed(effect.high)}]`;
export const tiny = (value) => (known(value) ? (value ? value.toExponential(1).replaceAll("-", "−") : "0") : "none");
export const evenly = (count) => Array.from({ length: count }, (_, place) => place / Math.max(1, count - 1));

export function span(values) {
  const finite = values.filter(known);
  const low = Math.min(...finite), high = Math.max(...finite), room = 0.04 * (high - low || 1);
  return [low - room, high + room];
}

export const distinct = (values) => [...new Set(values)];
