// Text from outside as it can be seen.

// Characters that cannot be seen, or turn around the text beside them.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\u2028\u2029\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u115f\u1160\u3164\uffa0]/gu;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

const code = (character) => [...Array(character.length).keys()].map((at) =>
  `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");

// Of what cannot be seen the code.
export const spelled = (text) => text.replace(UNSEEN, (found) => SHORT[found] || code(found));

// A text in quotation marks, so that blanks at its ends are seen, and what cannot be seen spelled out.
export function quoted(text) {
  return `"${spelled(text.replaceAll("\\", "\\\\").replaceAll('"', '\\"'))}"`;
}

// Of a title as much as fits.
export const fitting = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);
