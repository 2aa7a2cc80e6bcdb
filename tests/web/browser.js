// What the scripts ask of a browser as they are loaded, where node has none of it. Nothing is drawn.

export class Element {
  constructor(tag = "") {
    Object.assign(this, { tag, children: [], attributes: new Map(), textContent: "", style: {} });
  }

  append(...children) {
    this.children.push(...children);
  }

  hasChildNodes() {
    return this.children.length > 0;
  }

  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }

  hasAttribute(name) {
    return this.attributes.has(name);
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  addEventListener() {}
}

class Store extends Map {
  getItem(name) {
    return this.has(name) ? this.get(name) : null;
  }

  setItem(name, value) {
    this.set(name, String(value));
  }
}

const byId = new Map();

// The element of an id, made where there is none yet.
export function element(id) {
  if (!byId.has(id)) byId.set(id, new Element(id));
  return byId.get(id);
}

const scheme = { matches: false, addEventListener() {} };
const address = { hash: "" };

Object.assign(globalThis, {
  document: {
    documentElement: new Element("html"), getElementById: element,
    createElement: (tag) => new Element(tag), createElementNS: (_, tag) => new Element(tag), createTextNode: String,
  },
  // A colour of the style sheet is called by its own name.
  getComputedStyle: () => ({ getPropertyValue: (name) => ` ${name.slice(2)} ` }),
  history: { replaceState: (_state, _title, text) => { address.hash = text; } },
  localStorage: new Store(),
  location: address,
  ResizeObserver: class { observe() {} },
  window: { addEventListener() {}, matchMedia: () => scheme },
});
