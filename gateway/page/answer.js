// Shows text as text: paragraphs, line breaks, and [n] as a button where a citation has that number. All nodes together
// hold exactly the text that came, so that copying, searching and comparing give it back byte for byte.

import { button, make } from "./elements.js";

const BETWEEN = /(\n{2,})/;
const CITED = /\[(\d{1,3})\]/g;

export class AnswerText {
  /** `open(number)`: a citation was pressed. `named(number)`: its name for who cannot see it. */
  constructor(element, open, named) {
    Object.assign(this, { element, open, named, parts: [], numbers: "" });
  }

  /** Shows `text`. What has not changed is left alone, so that a selection in it stays while the rest grows. */
  show(text, numbers) {
    const key = [...numbers].join();
    if (key !== this.numbers) this.clear();
    this.numbers = key;
    const pieces = text.split(BETWEEN);
    pieces.forEach((piece, place) => this.put(place, piece, numbers));
    this.parts.splice(pieces.length).forEach((part) => part.node.remove());
  }

  clear() {
    this.parts = [];
    this.element.replaceChildren();
  }

  put(place, piece, numbers) {
    const part = this.parts[place];
    if (part?.piece === piece) return;
    if (part && place % 2 === 0 && this.grow(part, piece)) return;
    const node = place % 2 ? document.createTextNode(piece) : make("p", {}, ...this.nodes(piece, numbers));
    if (part) part.node.replaceWith(node);
    else this.element.append(node);
    this.parts[place] = { piece, node };
  }

  /** Most tokens only lengthen the last text node. */
  grow(part, piece) {
    const last = part.node.lastChild;
    if (last?.nodeType !== Node.TEXT_NODE || !piece.startsWith(part.piece)) return false;
    const more = piece.slice(part.piece.length);
    if (more.includes("]")) return false; // it may close a citation
    last.appendData(more);
    part.piece = piece;
    return true;
  }

  nodes(piece, numbers) {
    const nodes = [];
    let from = 0;
    for (const found of piece.matchAll(CITED)) {
      const number = Number(found[1]);
      if (!numbers.has(number)) continue;
      nodes.push(piece.slice(from, found.index), this.mark(found[0], number));
      from = found.index + found[0].length;
    }
    return [...nodes, piece.slice(from)].filter((node) => node !== "");
  }

  mark(text, number) {
    return button(text, () => this.open(number), { class: "cited", "aria-label": this.named(number) });
  }
}
